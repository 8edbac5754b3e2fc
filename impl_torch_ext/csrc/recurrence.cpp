#include "recurrence.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "recurrence_loops.h"
#include "threads.h"

namespace impl_torch_ext {

namespace {

// So many steps of a lane are worth a thread.
constexpr std::int64_t WORTHWHILE_STEPS = 1 << 15;

// The shape of a state: that of an array without the axis.
std::vector<std::int64_t> state_shape(const Tensor& array, std::int64_t axis) {
    std::vector<std::int64_t> shape = array.sizes().vec();
    shape.erase(shape.begin() + axis);
    return shape;
}

Lanes lanes_of(const char* name, const Tensor& array, std::int64_t axis, bool reverse) {
    TORCH_CHECK_VALUE(0 <= axis && axis < array.dim(), name, ": axis must be in [0, ", array.dim(),
                      "), got ", axis);
    const auto shape = array.sizes();
    const std::int64_t inner = c10::multiply_integers(shape.begin() + axis + 1, shape.end());
    return {shape[axis], inner, reverse};
}

// Calls work(first, last) for the lanes of an array that has elements, on several threads.
template <typename Work>
void share_lanes(const Tensor& array, const Lanes& lanes, const Work& work) {
    if (array.numel() == 0) return;
    share(array.numel() / lanes.steps, std::max<std::int64_t>(1, WORTHWHILE_STEPS / lanes.steps),
          work);
}

template <typename T>
const T* values(const Tensor& array) {
    return array.defined() ? array.const_data_ptr<T>() : nullptr;
}

template <typename T>
T* room(const Tensor& array, bool wanted) {
    return wanted ? array.data_ptr<T>() : nullptr;
}

}  // namespace

Tensor linear_recurrence(const Tensor& a, const Tensor& b, const OptionalTensor& h0,
                         std::int64_t axis, bool reverse) {
    constexpr const char* name = "linear_recurrence";
    const Lanes lanes = lanes_of(name, b, axis, reverse);
    check_like(name, "a", a, b.sizes(), b);
    const Tensor first = contiguous_like(name, "h0", h0, state_shape(b, axis), b);
    const Tensor factors = a.contiguous(), terms = b.contiguous();
    Tensor h = at::empty(b.sizes(), b.options());
    AT_DISPATCH_FLOATING_TYPES(b.scalar_type(), name, [&] {
        const LinearForward<scalar_t> call{lanes, values<scalar_t>(factors),
                                           values<scalar_t>(terms), values<scalar_t>(first),
                                           h.data_ptr<scalar_t>()};
        share_lanes(h, lanes, [&](std::int64_t begin, std::int64_t end) {
            linear_forward(call, begin, end);
        });
    });
    return h;
}

std::tuple<Tensor, Tensor, Tensor> linear_recurrence_backward(const Tensor& grad_output,
                                                              const Tensor& a, const Tensor& output,
                                                              const OptionalTensor& h0,
                                                              std::int64_t axis, bool reverse,
                                                              std::array<bool, 3> wanted) {
    constexpr const char* name = "linear_recurrence_backward";
    const Lanes lanes = lanes_of(name, output, axis, reverse);
    check_like(name, "grad_output", grad_output, output.sizes(), output);
    check_like(name, "a", a, output.sizes(), output);
    const Tensor first = contiguous_like(name, "h0", h0, state_shape(output, axis), output);
    const Tensor grad = grad_output.contiguous(), factors = a.contiguous(), h = output.contiguous();
    const auto make = [&](bool asked, at::IntArrayRef shape) {
        return at::empty(asked ? shape : at::IntArrayRef{0}, output.options());
    };
    const Tensor grad_a = make(wanted[0], output.sizes()), grad_b = make(wanted[1], output.sizes());
    // Without a step nothing comes back.
    const Tensor grad_h0 = make(wanted[2], state_shape(output, axis));
    if (lanes.steps == 0) grad_h0.zero_();
    AT_DISPATCH_FLOATING_TYPES(output.scalar_type(), name, [&] {
        const LinearBackward<scalar_t> call{lanes,
                                            values<scalar_t>(grad),
                                            values<scalar_t>(factors),
                                            values<scalar_t>(h),
                                            values<scalar_t>(first),
                                            room<scalar_t>(grad_a, wanted[0]),
                                            room<scalar_t>(grad_b, wanted[1]),
                                            room<scalar_t>(grad_h0, wanted[2])};
        share_lanes(h, lanes, [&](std::int64_t begin, std::int64_t end) {
            linear_backward(call, begin, end);
        });
    });
    return {grad_a, grad_b, grad_h0};
}

}  // namespace impl_torch_ext
