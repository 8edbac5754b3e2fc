// The module impl_torch_ext._C: what the functions of `ops` and the index of a leaf call first. It
// computes the usual cases, Tensors of one floating dtype, and returns NotImplemented for all
// others, which Python looks into. torch's own entry parses the arguments of every signature that
// a name has, and asks a leaf several times what its class is, in a microsecond.
#include <Python.h>

#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/add.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/div.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/index.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/neg.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/slice.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tanh.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>

#include <cstring>
#include <optional>

namespace impl_torch_ext {

namespace {

using at::Tensor;

constexpr char ASKED[] = "__torch_function__";

// Every integer dtype holds the ints from -SMALL to below SMALL.
constexpr std::int64_t SMALL = std::int64_t(1) << 31;

// Up to so many gradients of one element may be added one after another.
constexpr std::int64_t FEW = 16;

PyObject* interned() {
    static PyObject* const name = PyUnicode_InternFromString(ASKED);
    return name;
}

// What a class declines with, as those of leaves do: a builtin function, which no look-up binds.
PyObject* declining(PyTypeObject* cls) {
    PyObject* found = _PyType_Lookup(cls, interned());
    return found != nullptr && PyCFunction_Check(found) ? found : nullptr;
}

// The tp_getattr of leaves. torch asks every argument that is of no class of its own for a
// __torch_function__, and makes a string of the name each time, unless there is a tp_getattr: that
// is asked instead, with the characters as they are.
PyObject* get_attribute(PyObject* self, char* name) {
    if (std::strcmp(name, ASKED) == 0) {
        if (PyObject* found = declining(Py_TYPE(self))) {
            Py_INCREF(found);
            return found;
        }
    }
    PyObject* text = PyUnicode_FromString(name);
    if (text == nullptr) return nullptr;
    PyObject* result = PyObject_GetAttr(self, text);
    Py_DECREF(text);
    return result;
}

PyObject* ask_by_characters(PyObject*, PyObject* cls) {
    if (!PyType_Check(cls)) return PyErr_Format(PyExc_TypeError, "cls must be a class");
    reinterpret_cast<PyTypeObject*>(cls)->tp_getattr = get_attribute;
    Py_RETURN_NONE;
}

bool is_tensor(PyObject* x) {
    PyTypeObject* cls = Py_TYPE(x);
    const bool own = reinterpret_cast<PyObject*>(cls) == THPVariableClass;
    return own || (cls->tp_getattr == get_attribute && declining(cls) != nullptr);
}

// The floating Tensor in `x`, unless it is no such one or a mode wants to see the call.
const Tensor* floating(PyObject* x) {
    if (!is_tensor(x) || at::impl::torch_function_mode_enabled()) return nullptr;
    const Tensor& tensor = THPVariable_Unpack(x);
    const auto dtype = tensor.scalar_type();
    return dtype == at::kFloat || dtype == at::kDouble ? &tensor : nullptr;
}

std::optional<at::Scalar> number(PyObject* x) {
    if (PyFloat_CheckExact(x)) return at::Scalar(PyFloat_AS_DOUBLE(x));
    if (!PyLong_CheckExact(x)) return std::nullopt;
    int overflow = 0;
    const std::int64_t value = PyLong_AsLongLongAndOverflow(x, &overflow);
    if (overflow != 0 || value < -SMALL || value >= SMALL) return std::nullopt;
    return at::Scalar(value);
}

// An axis of x as an int, counted from the front.
std::optional<std::int64_t> axis_of(const Tensor& x, PyObject* axis) {
    if (!PyLong_CheckExact(axis)) return std::nullopt;
    int overflow = 0;
    const std::int64_t value = PyLong_AsLongLongAndOverflow(axis, &overflow);
    if (overflow != 0 || value < -x.dim() || value >= x.dim()) return std::nullopt;
    return value < 0 ? value + x.dim() : value;
}

template <typename F>
PyObject* computed(const F& compute) {
    return THPVariable_Wrap([&] {
        const pybind11::gil_scoped_release released;
        return compute();
    }());
}

template <typename Signature>
auto operator_of(const char* name) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

// Whether a derivative may be asked for: what a transform of torch.func wraps does not say.
bool followed(const Tensor& x) {
    return x.requires_grad() || x.key_set().has_any(c10::functorch_transforms_ks);
}

Tensor absolute(const Tensor& x) {
    static const auto op = operator_of<Tensor(const Tensor&)>("impl_torch_ext::absolute");
    return followed(x) ? op.call(x) : at::abs(x);
}

Tensor relu(const Tensor& x) {
    static const auto op = operator_of<Tensor(const Tensor&)>("impl_torch_ext::relu");
    return op.call(x);
}

Tensor extremum(const Tensor& x1, const Tensor& x2, bool largest) {
    static const auto op =
        operator_of<Tensor(const Tensor&, const Tensor&, bool)>("impl_torch_ext::extremum");
    if (followed(x1) || followed(x2)) return op.call(x1, x2, largest);
    return largest ? at::maximum(x1, x2) : at::minimum(x1, x2);
}

Tensor extreme(const Tensor& x, at::IntArrayRef axes, bool keepdims, bool largest) {
    static const auto op =
        operator_of<Tensor(const Tensor&, at::IntArrayRef, bool, bool)>("impl_torch_ext::extreme");
    if (followed(x)) return op.call(x, axes, keepdims, largest);
    return largest ? at::amax(x, axes, keepdims) : at::amin(x, axes, keepdims);
}

Tensor rows(const Tensor& x, std::int64_t start, std::optional<std::int64_t> count) {
    static const auto op =
        operator_of<Tensor(const Tensor&, std::int64_t, std::optional<std::int64_t>)>(
            "impl_torch_ext::rows");
    return op.call(x, start, count);
}

Tensor gather(const Tensor& x, const Tensor& index, std::int64_t axis) {
    static const auto op =
        operator_of<Tensor(const Tensor&, const Tensor&, std::int64_t)>("impl_torch_ext::gather");
    if (followed(x) && index.numel() > FEW) return op.call(x, index, axis);
    c10::List<std::optional<Tensor>> indices;
    for (std::int64_t i = 0; i < axis; ++i) indices.push_back(std::nullopt);
    indices.push_back(index);
    return at::index(x, indices);
}

template <auto compute>
PyObject* unary(PyObject*, PyObject* x) {
    HANDLE_TH_ERRORS
    const Tensor* tensor = floating(x);
    if (tensor == nullptr) Py_RETURN_NOTIMPLEMENTED;
    return computed([&] { return compute(*tensor); });
    END_HANDLE_TH_ERRORS
}

// Of two Tensors of one dtype.
template <auto compute>
PyObject* alike(PyObject*, PyObject* const* args, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    const Tensor* x1 = count == 2 ? floating(args[0]) : nullptr;
    const Tensor* x2 = x1 != nullptr ? floating(args[1]) : nullptr;
    if (x2 == nullptr || x1->scalar_type() != x2->scalar_type()) Py_RETURN_NOTIMPLEMENTED;
    return computed([&] { return compute(*x1, *x2); });
    END_HANDLE_TH_ERRORS
}

// Of two Tensors of one dtype, or a Tensor and a number.
template <auto compute>
PyObject* arithmetic(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    const std::optional<at::Scalar> second = count == 2 ? number(args[1]) : std::nullopt;
    if (!second) return alike<compute>(self, args, count);
    const Tensor* x1 = floating(args[0]);
    if (x1 == nullptr) Py_RETURN_NOTIMPLEMENTED;
    return computed([&] { return compute(*x1, *second); });
    END_HANDLE_TH_ERRORS
}

// Over one axis or, with None, all: (x, axis, keepdims).
template <auto compute>
PyObject* reduction(PyObject*, PyObject* const* args, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    const Tensor* x = count == 3 ? floating(args[0]) : nullptr;
    if (x == nullptr || !PyBool_Check(args[2]) || x->numel() == 0) Py_RETURN_NOTIMPLEMENTED;
    const bool keepdims = args[2] == Py_True;
    if (args[1] == Py_None) {
        return computed([&] { return compute(*x, at::IntArrayRef(), keepdims); });
    }
    const std::optional<std::int64_t> axis = axis_of(*x, args[1]);
    if (!axis) Py_RETURN_NOTIMPLEMENTED;
    return computed([&] { return compute(*x, at::IntArrayRef(*axis), keepdims); });
    END_HANDLE_TH_ERRORS
}

// Along one axis: (x, axis, longest), where longer ones are computed otherwise.
template <auto compute>
PyObject* along(PyObject*, PyObject* const* args, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    const Tensor* x = count == 3 ? floating(args[0]) : nullptr;
    if (x == nullptr) Py_RETURN_NOTIMPLEMENTED;
    const std::optional<std::int64_t> axis = axis_of(*x, args[1]);
    if (!axis || x->size(*axis) > PyLong_AsLongLong(args[2])) Py_RETURN_NOTIMPLEMENTED;
    return computed([&] { return compute(*x, *axis); });
    END_HANDLE_TH_ERRORS
}

// (x, index, axis), of int64.
PyObject* take(PyObject*, PyObject* const* args, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    const Tensor* x = count == 3 ? floating(args[0]) : nullptr;
    if (x == nullptr || !is_tensor(args[1])) Py_RETURN_NOTIMPLEMENTED;
    const Tensor& index = THPVariable_Unpack(args[1]);
    const std::optional<std::int64_t> axis = axis_of(*x, args[2]);
    if (!axis || index.scalar_type() != at::kLong) Py_RETURN_NOTIMPLEMENTED;
    return computed([&] { return gather(*x, index, *axis); });
    END_HANDLE_TH_ERRORS
}

// x[index] of a leaf for an int or a slice; short slices share a node, as single elements do.
PyObject* part(PyObject*, PyObject* const* args, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    const Tensor* x = count == 2 ? floating(args[0]) : nullptr;
    if (x == nullptr || x->dim() == 0) Py_RETURN_NOTIMPLEMENTED;
    const std::int64_t size = x->size(0);
    if (PyLong_CheckExact(args[1])) {
        int overflow = 0;
        const std::int64_t place = PyLong_AsLongLongAndOverflow(args[1], &overflow);
        if (overflow != 0 || place < -size || place >= size) Py_RETURN_NOTIMPLEMENTED;
        return computed([&] { return rows(*x, place, std::nullopt); });
    }
    Py_ssize_t start, stop, step;
    if (!PySlice_Check(args[1])) Py_RETURN_NOTIMPLEMENTED;
    if (PySlice_Unpack(args[1], &start, &stop, &step) != 0) {
        PyErr_Clear();
        Py_RETURN_NOTIMPLEMENTED;
    }
    if (step < 1) Py_RETURN_NOTIMPLEMENTED;
    const std::int64_t length = PySlice_AdjustIndices(size, &start, &stop, step);
    if (x->requires_grad() && step == 1 && 0 < length && 4 * length <= size)
        return computed([&] { return rows(*x, start, length); });  // autograd-32
    return computed([&] { return at::slice(*x, 0, start, std::max(start, stop), step); });
    END_HANDLE_TH_ERRORS
}

#define IMPL_OVERLOADS(fn) [](const auto&... x) { return fn(x...); }

PyMethodDef quick(const char* name, PyCFunction function) {
    return {name, function, METH_O, nullptr};
}

PyMethodDef quick(const char* name,
                  PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
    return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)),
            METH_FASTCALL, nullptr};
}

PyMethodDef METHODS[] = {
    quick("ask_by_characters", ask_by_characters),
    quick("abs", unary<absolute>),
    quick("negative", unary<IMPL_OVERLOADS(at::neg)>),
    quick("exp", unary<IMPL_OVERLOADS(at::exp)>),
    quick("log", unary<IMPL_OVERLOADS(at::log)>),
    quick("sqrt", unary<IMPL_OVERLOADS(at::sqrt)>),
    quick("square", unary<IMPL_OVERLOADS(at::square)>),
    quick("tanh", unary<IMPL_OVERLOADS(at::tanh)>),
    quick("sin", unary<IMPL_OVERLOADS(at::sin)>),
    quick("cos", unary<IMPL_OVERLOADS(at::cos)>),
    quick("sigmoid", unary<IMPL_OVERLOADS(at::sigmoid)>),
    quick("relu", unary<relu>),
    quick("add", arithmetic<IMPL_OVERLOADS(at::add)>),
    quick("subtract", arithmetic<IMPL_OVERLOADS(at::sub)>),
    quick("multiply", arithmetic<IMPL_OVERLOADS(at::mul)>),
    quick("divide", arithmetic<IMPL_OVERLOADS(at::div)>),
    quick("maximum",
          alike<[](const Tensor& x1, const Tensor& x2) { return extremum(x1, x2, true); }>),
    quick("minimum",
          alike<[](const Tensor& x1, const Tensor& x2) { return extremum(x1, x2, false); }>),
    quick("sum", reduction<[](const Tensor& x, at::IntArrayRef axes, bool keepdims) {
              return axes.empty() && !keepdims ? at::sum(x) : at::sum(x, axes, keepdims);
          }>),
    quick("mean", reduction<[](const Tensor& x, at::IntArrayRef axes, bool keepdims) {
              return axes.empty() && !keepdims ? at::mean(x) : at::mean(x, axes, keepdims);
          }>),
    quick("max", reduction<[](const Tensor& x, at::IntArrayRef axes, bool keepdims) {
              return extreme(x, axes, keepdims, true);
          }>),
    quick("min", reduction<[](const Tensor& x, at::IntArrayRef axes, bool keepdims) {
              return extreme(x, axes, keepdims, false);
          }>),
    quick("softmax",
          along<[](const Tensor& x, std::int64_t axis) { return at::softmax(x, axis); }>),
    quick("log_softmax",
          along<[](const Tensor& x, std::int64_t axis) { return at::log_softmax(x, axis); }>),
    quick("take", take),
    quick("part", part),
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "impl_torch_ext._C", nullptr, -1, METHODS};

}  // namespace

}  // namespace impl_torch_ext

PyMODINIT_FUNC PyInit__C() {
    if (impl_torch_ext::interned() == nullptr) return nullptr;
    return PyModule_Create(&impl_torch_ext::MODULE);
}
