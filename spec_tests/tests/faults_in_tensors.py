"""Deliberate faults in tensors, functions, Functions and autograd."""

import importlib
import itertools

import numpy as np
from faults import fault


@fault("test_tensor", "tensor-03")
def tensor_does_not_copy(nn):
    original = nn.tensor

    def tensor(data, **options):
        shared = isinstance(data, np.ndarray) and not options
        return nn.from_array(data) if shared else original(data, **options)

    nn.tensor = tensor


@fault("test_tensor", "tensor-05")
def from_array_copies(nn):
    original = nn.from_array
    nn.from_array = nn.Variable = lambda array, requires_grad=False: original(
        np.array(array), requires_grad
    )


@fault("test_tensor", "tensor-10")
def detach_copies(nn):
    nn.Tensor.detach = lambda self: nn.tensor(self)


@fault("test_tensor_operators", "tensor-15")
def weak_scalar_promotes(nn):
    from impl_numpy import recording

    recording.operand = lambda value, dtype, operation: np.asarray(value)


@fault("test_tensor_operators", "tensor-18")
def broadcast_gradient_is_not_summed(nn):
    from impl_numpy import recording

    def first_of_each(x, shape, dtype, *_):
        x = x[(0,) * (x.ndim - len(shape))]
        return x[tuple(slice(size) for size in shape)].astype(dtype)

    recording.shrink.forward = first_of_each


@fault("test_tensor_indexing", "tensor-24")
def repeated_indices_do_not_accumulate(nn):
    from impl_numpy.ops import indexing

    def put(x, key, shape):
        out = np.zeros(shape, x.dtype)
        out[key] = x
        return out

    indexing._put = indexing._placed.forward = put


@fault("test_tensor_indexing", "tensor-26")
def first_of_the_tied_takes_all(nn):
    from impl_numpy import recording

    def vjp(grad, needs, x, out, axes, keepdims, kept, shape):
        tied = recording.raw(x) == recording.raw(out).reshape(kept)
        earlier = np.cumsum(tied, axis=axes[-1]) > 1
        return (grad.reshape(kept) * (tied & ~earlier).astype(grad.dtype),)

    recording.RULES["max"].vjp = vjp


@fault("test_ops", "ops-05")
def softmax_overflows(nn):
    from impl_numpy import recording

    recording.RULES["softmax"].forward = lambda x, axis: (
        np.exp(x) / np.exp(x).sum(axis, keepdims=True)
    )


@fault("test_ops", "ops-07")
def slope_of_relu_at_zero_is_one(nn):
    from impl_numpy import recording

    def vjp(grad, needs, x, out):
        return (grad * (recording.raw(x) >= 0).astype(grad.dtype),)

    rule = recording.RULES["relu"]
    rule.vjp, rule.keep, rule.kept = vjp, ((0,),), recording._unions(((0,),))


@fault("test_ops", "ops-08")
def first_operand_takes_ties(nn):
    from impl_numpy import recording

    def vjp(grad, needs, a, b, out):
        mine = (recording.raw(a) >= recording.raw(b)).astype(grad.dtype)
        return grad * mine, grad * (1 - mine)

    recording.RULES["maximum"].vjp = vjp


@fault("test_ops", "ops-10")
def where_multiplies_by_the_mask(nn):
    from impl_numpy import recording

    def vjp(grad, needs, a, b, out, condition):
        mine = np.asarray(condition).astype(grad.dtype)
        return grad * mine, grad * (1 - mine)

    recording.RULES["where"].vjp = vjp


@fault("test_function", "function-03")
def an_instance_can_be_called_again(nn):
    original = nn.Function.__call__

    def call(self, *inputs, **config):
        self._called = False
        return original(self, *inputs, **config)

    nn.Function.__call__ = call


@fault("test_function", "function-09")
def every_input_is_said_to_need_a_gradient(nn):
    from impl_numpy import function, function_node

    class Context(function.StaticContext):
        needs_input_grad = property(
            lambda self: (any(self._needs),) * len(self._needs),
            lambda self, needs: setattr(self, "_needs", needs),
        )

    function.StaticContext = function_node.StaticContext = Context


@fault("test_function", "function-11")
def any_number_of_gradients_is_taken(nn):
    from impl_numpy import function_node

    original = function_node.FunctionNode._checked

    def checked(self, grads):
        wanted = len(self.inputs)
        return original(self, (grads + [None] * wanted)[:wanted])

    # Where input was a number, None is as good as left out.
    function_node.FunctionNode._checked = checked


@fault("test_function", "function-12")
def a_gradient_is_broadcast_to_its_input(nn):
    from impl_numpy import function_node

    original = function_node.FunctionNode._checked

    def checked(self, grads):
        fitted = [
            g if g is None or node is None else np.resize(np.asarray(g), x.shape)
            for g, x, node in itertools.zip_longest(grads, self.inputs, self.parents)
        ]
        return original(self, fitted)

    function_node.FunctionNode._checked = checked


@fault("test_function", "function-13")
def a_gradient_is_cast_to_its_input(nn):
    from impl_numpy import function_node

    original = function_node.FunctionNode._checked

    def checked(self, grads):
        fitted = [
            g if g is None or node is None else np.asarray(g, x.dtype)
            for g, x, node in itertools.zip_longest(grads, self.inputs, self.parents)
        ]
        return original(self, fitted)

    function_node.FunctionNode._checked = checked


@fault("test_function_outputs", "function-14")
def unused_outputs_get_none(nn):
    nn.Function._materialize = False
    from impl_numpy import context

    context.Context._materialize = False
    context.Context.set_materialize_grads = lambda self, value: None


@fault("test_function_derivatives", "function-17")
def what_was_saved_is_a_constant(nn):
    from impl_numpy import function_node, ops

    def pull_recorded(self, grad):
        ctx = self.ctx
        nodes = {id(x): node for x, node in zip(self.inputs, self.parents, strict=True)}
        ctx._saved = tuple(
            x if x is None else function_node.wrap(x, nodes.get(id(x))) for x in self.saved
        )
        ctx.xp = ops
        grads = self.function.backward(ctx, *self._grads(grad, function_node._tensor, ctx))
        return self._checked(list(function_node.as_sequence(grads)))

    function_node.FunctionNode.pull_recorded = pull_recorded


@fault("test_function_derivatives", "function-21")
def once_differentiable_is_forgotten(nn):
    nn.once_differentiable = lambda backward: backward


@fault("test_function_outputs", "function-22")
def calls_share_one_ctx(nn):
    from impl_numpy import function

    original, made = function.StaticContext, {}
    function.StaticContext = lambda cls: made.setdefault(cls, original(cls))


@fault("test_autograd", "autograd-03")
def gradients_are_overwritten(nn):
    # `impl_numpy.tensor` is the function of that name, so the module is asked for by its path.
    module = importlib.import_module("impl_numpy.tensor")

    def receiver(leaf, cast=None):
        def receive(grad):
            known = isinstance(grad, nn.Tensor)
            leaf.grad = grad if known else module.wrap(np.array(grad), None)

        return receive

    module.receiver = receiver


@fault("test_autograd", "autograd-04")
def a_freed_graph_is_not_noticed(nn):
    from impl_numpy import function_node, tape

    tape.Node.free = function_node.FunctionNode.free = lambda self: None


@fault("test_autograd", "autograd-07")
def what_a_hook_returns_is_ignored(nn):
    original = nn.Tensor.register_hook

    def register_hook(self, hook):
        def deaf(grad):
            hook(grad)

        return original(self, deaf)

    nn.Tensor.register_hook = register_hook


@fault("test_autograd", "autograd-08")
def recording_is_not_restored_after_an_exception(nn):
    from impl_numpy.autograd import modes

    original = modes._Switch.__exit__

    def leave(self, error_type, *rest):
        if error_type is None:
            original(self, error_type, *rest)

    modes._Switch.__exit__ = leave


@fault("test_autograd", "autograd-09")
def no_grad_is_global(nn):
    from impl_numpy import tape

    shared = {"recording": True}
    tape._Mode.recording = property(
        lambda self: shared["recording"], lambda self, flag: shared.update(recording=flag)
    )


@fault("test_autograd", "autograd-11")
def nodes_run_oldest_first(nn):
    from impl_numpy import tape

    tape.next_age = itertools.count().__next__


@fault("test_autograd test_function_derivatives", "autograd-13", "function-17")
def create_graph_is_ignored(nn):
    original = nn.Tensor.backward

    def backward(self, grad=None, retain_graph=False, create_graph=False):
        original(self, grad, retain_graph or create_graph)

    nn.Tensor.backward = backward


@fault("test_autograd_functional", "autograd-16")
def pull_works_once(nn):
    original = nn.vjp

    def vjp(fn, *primals, **options):
        output, pull = original(fn, *primals, **options)
        left = [pull]
        return output, lambda cotangent: left.pop()(cotangent)

    nn.vjp = vjp


@fault("test_autograd_functional", "autograd-18")
def gradients_leak_into_closures(nn):
    def grad(fn, argnums=0, create_graph=False):
        def gradient(*args):
            x = nn.tensor(args[argnums], requires_grad=True)
            fn(*args[:argnums], x, *args[argnums + 1 :]).backward()
            return x.grad

        return gradient

    nn.grad = grad


@fault("test_autograd_functional", "autograd-19")
def an_exception_leaves_the_parameters_replaced(nn):
    original = nn.functional_call

    def functional_call(module, params, *args, **kwargs):
        try:
            return original(module, params, *args, **kwargs)
        except OSError:
            module.load_state_dict(params, strict=False)
            raise

    nn.functional_call = functional_call


@fault("test_autograd_functional", "autograd-20")
def jit_keeps_its_first_result(nn):
    def jit(fn):
        results = []

        def compiled(*args):
            if not results:
                results.append(fn(*args))
            return results[0]

        return compiled

    nn.jit = jit
