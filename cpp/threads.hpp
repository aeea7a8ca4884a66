// How many threads a fill may use. It knows the process's CPUs (affinity mask, cgroup quota) and the user's wishes.
#pragma once

namespace fastinit {

// CPUs that this process may use now, at least 1.
int available_cpus();

// The number set by set_num_threads, else FASTINIT_NUM_THREADS, else available_cpus(). Throws std::invalid_argument if
// the variable is no integer >= 1.
int default_threads();
void set_default_threads(int threads);

}  // namespace fastinit
