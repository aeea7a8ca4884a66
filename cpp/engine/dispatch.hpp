// Which target's kernels run: the first of those built that this CPU and this OS can run, or the one that
// FASTINIT_TARGET names.
#pragma once

#include <string>
#include <vector>

#include "kernels/contract.hpp"

namespace fastinit {

// Names, the fastest first.
std::vector<std::string> targets_built();
std::vector<std::string> targets_found();

// The table in use. Throws std::invalid_argument if FASTINIT_TARGET names no target that runs here.
const KernelTable& kernels();

// Forces a target by name; an empty name chooses anew. Throws as above.
void set_target(const std::string& name);

// The table of a target that runs here; throws as above.
const KernelTable& kernels_of(const std::string& name);

}  // namespace fastinit
