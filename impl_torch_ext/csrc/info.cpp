// What the library says of itself: its instruction sets, and the threads that it used.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"
#include "threads.h"

namespace impl_torch_ext {

namespace {

using at::Tensor;

std::string chosen_target() {
    try {
        return target_name(target());
    } catch (const std::invalid_argument& error) {
        TORCH_CHECK_VALUE(false, error.what());
    }
}

std::vector<std::string> targets() {
    std::vector<std::string> names;
    for (const Target known : known_targets()) names.emplace_back(target_name(known));
    return names;
}

Tensor teams(bool on) {
    const TeamRecord record = record_teams(on);
    const Tensor result = at::empty({static_cast<std::int64_t>(record.size()), 3}, at::kLong);
    if (!record.empty())
        std::copy_n(record[0].data(), 3 * record.size(), result.data_ptr<std::int64_t>());
    return result;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(impl_torch_ext, m) {
    m.def("target() -> str", chosen_target);
    m.def("targets() -> str[]", targets);
    m.def("has_openmp() -> bool", has_openmp);
    m.def("record_teams(bool on) -> Tensor", teams);
}

}  // namespace impl_torch_ext
