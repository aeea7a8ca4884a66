#include "engine/pool.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#define FASTINIT_POSIX
#endif
#if defined(__linux__)
#include <sched.h>

#include <cstring>
#endif

namespace fastinit {
namespace {

// The CPUs that a thread may use. A helper works for callers with other masks than that of the thread which started it.
class Affinity {
#if defined(__linux__)
  cpu_set_t cpus_;
  bool known_;

 public:
  // A machine with more than 1024 CPUs does not say.
  Affinity() : known_(sched_getaffinity(0, sizeof(cpus_), &cpus_) == 0) {}
  void adopt(const Affinity& other) {
    if (!other.known_ || (known_ && std::memcmp(&cpus_, &other.cpus_, sizeof(cpus_)) == 0)) return;
    if (sched_setaffinity(0, sizeof(other.cpus_), &other.cpus_) == 0) *this = other;
  }
#else
 public:
  void adopt(const Affinity&) {}
#endif
};

// While it lives, this thread and the threads that it starts take no signals, which are for the program's own threads.
// Only signals of a thread's own fault still come: a fill of a memmap whose file was cut off has to reach its handler.
class NoSignals {
#if defined(FASTINIT_POSIX)
  sigset_t saved_;

 public:
  NoSignals() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) sigdelset(&blocked, own);
    pthread_sigmask(SIG_SETMASK, &blocked, &saved_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &saved_, nullptr); }
#else
 public:
  NoSignals() {}
#endif
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;
};

struct Job {
  const std::function<void(std::size_t)>& part;
  const std::size_t n;
  const Affinity affinity;  // the caller's
  int wanted;       // helpers that may still come; this and the next under the pool's mutex
  int working = 0;  // helpers that have come and not left
  std::atomic<std::size_t> next{0};

  void work() {
    for (std::size_t k; (k = next.fetch_add(1, std::memory_order_relaxed)) < n;) part(k);
  }
};

class Pool {
  std::mutex mutex_;
  std::condition_variable job_came_, helper_left_;
  std::vector<Job*> jobs_;
  int helpers_ = 0;

  void help() {
    Affinity affinity;
    std::unique_lock lock(mutex_);
    for (;;) {
      const auto found = std::find_if(jobs_.begin(), jobs_.end(), [](const Job* job) { return job->wanted > 0; });
      if (found == jobs_.end()) {
        job_came_.wait(lock);
        continue;
      }
      Job& job = **found;
      --job.wanted;
      ++job.working;
      lock.unlock();
      affinity.adopt(job.affinity);
      job.work();
      lock.lock();
      if (--job.working == 0) helper_left_.notify_all();
    }
  }

 public:
  void run(Job& job) {
    const int wanted = job.wanted;
    bool listed = false;
    {
      const std::lock_guard lock(mutex_);
      try {
        jobs_.push_back(&job);
        listed = true;
        const NoSignals no_signals;
        for (; helpers_ < wanted; ++helpers_) std::thread([this] { help(); }).detach();
      } catch (const std::exception&) {
        // There is no memory, or the OS starts no more threads: the helpers that exist do the job.
      }
    }
    for (int i = 0; i < wanted; ++i) job_came_.notify_one();
    job.work();
    if (!listed) return;
    std::unique_lock lock(mutex_);
    jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
    helper_left_.wait(lock, [&job] { return job.working == 0; });
  }
};

// Never destroyed: its helpers sleep in it until the process ends. A child after fork() has none of them, and a mutex
// in whatever state it was; it forgets the parent's pool.
std::atomic<Pool*> the_pool{nullptr};

// The pool of this process, or nullptr if there is no memory for one.
Pool* pool() {
  Pool* current = the_pool.load();
  if (current != nullptr) return current;
  Pool* const mine = new (std::nothrow) Pool;
  if (the_pool.compare_exchange_strong(current, mine)) return mine;
  delete mine;  // another thread was first
  return current;
}

}  // namespace

void prepare_for_forks() {
#if defined(FASTINIT_POSIX)
  [[maybe_unused]] static const int registered = pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr); });
#endif
}

void in_parallel(std::size_t n, int threads, const std::function<void(std::size_t)>& part) {
  Pool* const helpers = n > 1 && threads > 1 ? pool() : nullptr;
  if (helpers == nullptr) {
    for (std::size_t k = 0; k < n; ++k) part(k);
    return;
  }
  Job job{part, n, {}, int(std::min(std::size_t(std::min(threads, kMostThreads)), n)) - 1};
  helpers->run(job);
}

}  // namespace fastinit
