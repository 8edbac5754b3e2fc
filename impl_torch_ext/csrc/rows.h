// Leaves of the graph: their rows, and their counters of changes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace impl_torch_ext {

using at::Tensor;

// x[index] along the first axis, a view; with a node of its own where it is recorded.
Tensor row(const Tensor& x, std::int64_t index);
Tensor row_recorded(const Tensor& x, std::int64_t index);

// Makes changes of `other` count as changes of `self`, which has just taken over its memory.
void share_version(const Tensor& self, const Tensor& other);

}  // namespace impl_torch_ext
