// Leaves of the graph: their rows, and their counters of changes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace impl_torch_ext {

using at::Tensor;

// x[start], or x[start : start + count], a view; with a node of its own where it is recorded.
Tensor rows(const Tensor& x, std::int64_t start, std::optional<std::int64_t> count);
Tensor rows_recorded(const Tensor& x, std::int64_t start, std::optional<std::int64_t> count);

// Makes changes of `other` count as changes of `self`, which has just taken over its memory.
void share_version(const Tensor& self, const Tensor& other);

}  // namespace impl_torch_ext
