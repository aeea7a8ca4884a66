#include "engine/threads.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace fastinit {
namespace {

#if defined(__linux__)

int affinity_cpus() {
  // The mask of a machine with more CPUs than the set has room for is refused: try larger ones.
  for (std::size_t cpus = 1024; cpus <= std::size_t(1) << 20; cpus *= 4) {
    std::vector<unsigned long> mask(cpus / (8 * sizeof(unsigned long)));
    const std::size_t bytes = mask.size() * sizeof(unsigned long);
    auto* set = reinterpret_cast<cpu_set_t*>(mask.data());
    if (sched_getaffinity(0, bytes, set) == 0) return CPU_COUNT_S(bytes, set);
  }
  return 0;
}

#endif

// The first line of a file, or "".
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// CPUs that a quota of so much time in each period pays for, rounded up; INT_MAX without one. (In integers: the
// caller's floating-point flags are kept.)
int cpus_of(long long time, long long period) {
  return time > 0 && period > 0 ? int(std::min((time - 1) / period + 1, (long long)(INT_MAX))) : INT_MAX;
}

std::atomic<int> set_by_user{0};

int threads_from_environment() {
  const char* variable = std::getenv("FASTINIT_NUM_THREADS");
  if (variable == nullptr || *variable == '\0') return 0;
  const char* end = variable + std::strlen(variable);
  long long threads = 0;
  const auto parsed = std::from_chars(variable, end, threads);
  const bool too_many = parsed.ec == std::errc::result_out_of_range && *variable != '-';
  if (parsed.ptr != end || (!too_many && (parsed.ec != std::errc() || threads < 1))) {
    throw std::invalid_argument("FASTINIT_NUM_THREADS must be an integer >= 1, got '" + std::string(variable) + "'");
  }
  return too_many || threads > INT_MAX ? INT_MAX : int(threads);
}

}  // namespace

// Version 2: cpu.max, "max 100000" or "50000 100000". Version 1: cpu.cfs_quota_us, -1 for none. The least of its
// group's and all its parents'. In a container the group's own path may not be visible; the root of the mount is then
// the group.
int cgroup_cpus(const std::string& groups_file, const std::string& mount) {
  int least = INT_MAX;
  const auto walk = [&least](const std::string& top, std::string group, const auto& cpus_at) {
    for (;;) {
      least = std::min(least, cpus_at(top + group));
      const auto slash = group.rfind('/');
      if (slash == std::string::npos) return;
      group.resize(slash);
    }
  };
  const auto version_2 = [](const std::string& path) {
    const std::string line = first_line(path + "/cpu.max");
    const auto space = line.find(' ');
    if (space == std::string::npos) return INT_MAX;
    return cpus_of(std::atoll(line.c_str()), std::atoll(line.c_str() + space));  // "max" reads as 0
  };
  const auto version_1 = [](const std::string& path) {
    return cpus_of(std::atoll(first_line(path + "/cpu.cfs_quota_us").c_str()),
                   std::atoll(first_line(path + "/cpu.cfs_period_us").c_str()));
  };
  std::ifstream groups(groups_file);  // lines "number:controllers:/group"
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers(1, ',');
    controllers.append(line, first + 1, second - first - 1).push_back(',');
    std::string group = line.substr(second + 1);
    if (group == "/") group.clear();
    if (controllers == ",,") walk(mount, group, version_2);
    if (controllers.find(",cpu,") != std::string::npos) {
      walk(mount + "/cpu", group, version_1);
      walk(mount + "/cpu,cpuacct", group, version_1);
    }
  }
  return least;
}

int available_cpus() {
#if defined(__linux__)
  static const int quota = cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
  const int cpus = affinity_cpus();
  if (cpus > 0) return std::min(cpus, quota);
#endif
  return std::max(1, int(std::thread::hardware_concurrency()));
}

int wished_threads() {
  static const int by_environment = threads_from_environment();
  const int threads = set_by_user.load(std::memory_order_relaxed);
  return threads > 0 ? threads : by_environment;
}

void set_wished_threads(int threads) { set_by_user.store(threads, std::memory_order_relaxed); }

}  // namespace fastinit
