// How many threads a fill may use, from the process's CPUs (affinity mask, cgroup quota) and what the user asks for.
#pragma once

#include <string>

namespace fastinit {

// CPUs that this process may use, at least 1: by its affinity mask now, by its control groups when first asked.
int available_cpus();

// The number that the user wishes: by set_wished_threads, else by FASTINIT_NUM_THREADS as it was when first asked, else
// 0. Throws std::invalid_argument if the variable is no integer >= 1.
int wished_threads();
void set_wished_threads(int threads);

// How many CPUs' worth of time a process's control groups grant it, rounded up; INT_MAX if there is no limit. `groups`
// is the process's list of them, /proc/self/cgroup, and `mount` the folder of their files.
int cgroup_cpus(const std::string& groups, const std::string& mount);

}  // namespace fastinit
