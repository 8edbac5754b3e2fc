"""Deliberate faults in what a gradient may rest on: values, constants, hooks, threads, state."""

import contextlib
import importlib
import weakref

import numpy as np
from faults import fault


@fault("test_autograd test_autograd_values", "autograd-24")
def changed_values_are_not_noticed(nn):
    from impl_numpy import engine

    engine.check_saved = lambda *_: None


@fault("test_autograd test_autograd_state", "autograd-24")
def an_optimizer_is_not_noticed(nn):
    # It steps on Tensors of its own that share the parameters' memory.
    original = nn.optim.SGD.step

    def step(self):
        from impl_numpy.memory import CLOCK

        last = CLOCK.last
        original(self)
        CLOCK.last = last

    nn.optim.SGD.step = step


@fault("test_autograd test_autograd_state", "autograd-24")
def arrays_that_are_held_are_forgotten(nn):
    from impl_numpy import engine, memory

    def settle():
        for entry in list(memory.LENT.values()):
            entry.borrowed = False
            entry.holders = []
            if not entry.leases:
                entry.end()

    engine.settle = settle


@fault("test_autograd test_autograd_constants", "autograd-25")
def a_constant_is_kept_by_reference(nn):
    original = nn.ops.multiply

    def multiply(x1, x2, /):
        if not isinstance(x2, np.ndarray):
            return original(x1, x2)

        class ByReference(nn.Function):
            @staticmethod
            def forward(ctx, x):
                return (x * x2).astype(x.dtype)

            @staticmethod
            def backward(ctx, grad_output):
                return (grad_output * x2).astype(grad_output.dtype)

        return ByReference.apply(x1)

    nn.ops.multiply = multiply


@fault("test_autograd test_autograd_hooks", "autograd-26")
def what_a_hook_returns_is_not_checked(nn):
    from impl_numpy import tape

    tape.check_hooked = lambda *_: None


@fault("test_autograd test_autograd_hooks", "autograd-27")
def a_frozen_leaf_is_filled(nn):
    # The package has a function of this name too.
    module = importlib.import_module("impl_numpy.tensor")
    original = module.receiver

    def receiver(leaf, *cast):
        receive, reference = original(leaf, *cast), weakref.ref(leaf)

        def thawed(grad):
            leaf = reference()
            node, leaf._node = leaf._node, leaf._node or leaf._leaf
            receive(grad)
            leaf._node = node

        return thawed

    module.receiver = receiver


@fault("test_autograd test_autograd_threads", "autograd-28")
def leaves_are_filled_without_a_lock(nn):
    from impl_numpy import engine

    engine._DELIVERING = contextlib.nullcontext()


@fault("test_autograd test_autograd_threads", "autograd-28")
def a_context_keeps_the_mode_of_another_thread(nn):
    def enter(self):
        vars(self).setdefault("modes", []).append(nn.is_grad_enabled())
        nn.set_grad_enabled(False)

    nn.no_grad.__enter__ = enter
    nn.no_grad.__exit__ = lambda self, *_: nn.set_grad_enabled(self.modes.pop()) and None


@fault("test_autograd test_autograd_hooks", "autograd-29")
def a_generator_is_decorated_like_a_function(nn):
    def decorate(self, function):
        def decorated(*args, **kwargs):
            with nn.no_grad():
                return function(*args, **kwargs)

        decorated.__name__, decorated.__doc__ = function.__name__, function.__doc__
        return decorated

    nn.no_grad.__call__ = decorate


@fault("test_autograd test_autograd_jit", "autograd-30")
def jit_keeps_what_it_found_first(nn):
    def jit(fn):
        known = {}

        def compiled(*arguments):
            key = str([argument.tolist() for argument in arguments])
            if key not in known:
                known[key] = fn(*arguments)
            return known[key]

        return compiled

    nn.jit = jit


@fault("test_function test_autograd_memory", "autograd-31")
def the_ctx_of_a_function_holds_its_node(nn):
    from impl_numpy.function_node import FunctionNode

    original = FunctionNode.__init__

    def init(self, *arguments):
        original(self, *arguments)
        self.ctx.node = self

    FunctionNode.__init__ = init


@fault("test_function test_autograd_memory", "autograd-32")
def each_slice_gets_a_gradient_of_the_whole(nn):
    from impl_numpy.ops import indexing

    original = indexing.Scattered

    def scattered(grad, key, shape, gather):
        # Not every index: each case of the suite that is not linear goes on up to its limit.
        if isinstance(key, slice):
            return gather((grad,), (key,), shape)
        return original(grad, key, shape, gather)

    indexing.Scattered = scattered


@fault("test_autograd_functional test_autograd_structures", "autograd-33")
def gradients_come_in_plain_dicts(nn):
    original = nn.grad

    def grad(fn, *options, **more):
        slope = original(fn, *options, **more)

        def plain(*arguments, **keywords):
            result = slope(*arguments, **keywords)
            return dict(result) if isinstance(result, dict) else result

        return plain

    nn.grad = grad


@fault("test_function test_function_safety", "function-27")
def backward_may_write_the_gradient(nn):
    from impl_numpy import function_node

    function_node._incoming = np.asarray


@fault("test_function test_function_safety", "function-28")
def a_function_may_cut_its_graph(nn):
    nn.Tensor.detach = lambda self: nn.from_array(self._data)


@fault("test_function test_function_places", "function-29")
def tensors_in_containers_are_taken(nn):
    from impl_numpy import function

    function.check_no_gradient = lambda *_: None


@fault("test_function test_function_places", "function-30")
def a_list_of_gradients_counts_as_one(nn):
    from impl_numpy import function_node

    function_node.as_sequence = lambda result: result if type(result) is tuple else (result,)


@fault("test_ops test_ops_lookups", "ops-29")
def take_gives_another_row(nn):
    original = nn.ops.take

    def take(x, indices, /, *, axis=None):
        index = np.asarray(indices.numpy() if isinstance(indices, nn.Tensor) else indices)
        length = x.shape[-1 if axis is None else axis]
        return original(x, nn.tensor(np.clip(index, -length, length - 1)), axis=axis)

    nn.ops.take = take


@fault("test_errors test_errors_imports", "errors-08")
def importing_changes_the_error_state(nn):
    np.seterr(all="ignore")


@fault("test_autograd_derivatives", "autograd-34")
def tangents_of_one_primal_go_missing(nn):
    original = nn.jvp

    def jvp(fn, primals, tangents, create_graph=False):
        if len(primals) == len(tangents) == 2:
            tangents = (tangents[0], nn.vjp(lambda x: x, primals[1])[1](primals[1])[0] * 0)
        return original(fn, primals, tangents, create_graph)

    nn.jvp = jvp


@fault("test_autograd_derivatives", "autograd-35")
def a_push_calls_the_function_again(nn):
    def linearize(fn, *primals, create_graph=False):
        output = nn.jvp(fn, primals, primals, create_graph)[0]
        return output, lambda *tangents: nn.jvp(fn, primals, tangents, create_graph)[1]

    nn.linearize = linearize


@fault("test_autograd_derivatives", "autograd-36")
def columns_and_rows_are_exchanged(nn):
    original = nn.jacfwd

    def jacfwd(fn, argnums=0, create_graph=False):
        jacobian = original(fn, argnums, create_graph)

        def exchanged(*args, **kwargs):
            found = jacobian(*args, **kwargs)
            return found.mT if isinstance(found, nn.Tensor) and found.ndim > 1 else found

        return exchanged

    nn.jacfwd = jacfwd


@fault("test_autograd_derivatives", "autograd-37")
def a_hessian_is_that_of_each_argument_alone(nn):
    original = nn.hessian

    def hessian(fn, argnums=0, create_graph=False):
        if isinstance(argnums, int):
            return original(fn, argnums, create_graph)
        parts = [original(fn, k, create_graph) for k in argnums]
        return lambda *args: tuple(part(*args) for part in parts)

    nn.hessian = hessian
