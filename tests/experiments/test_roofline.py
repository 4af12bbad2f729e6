"""The roofline experiment: predicted times of a step, and kernels in the text of a program."""

from types import SimpleNamespace

import numpy as np

from experiments.roofline import __main__ as roofline
from gdjax.sweeps.absent_device import Kernel, Loop, loops

TPU_TEXT = """
%product (a: f32[64,16,784], b: u8[32,784]) -> f32[64,16,32] {
  %a = f32[64,16,784]{2,1,0:T(8,128)S(1)} parameter(0)
  %b = u8[32,784]{1,0} parameter(1)
  ROOT %c = f32[64,16,32]{2,1,0} convolution(%b, %a), window={size=1}, dim_labels=bf_0oi->0bf
}
%body (loop: f32[64,16,784]) -> f32[64,16,32] {
  %w = f32[64,16,784]{2,1,0:T(8,128)S(1)} parameter(0)
  %x = u8[32,784]{1,0} parameter(1)
  ROOT %fusion = f32[64,16,32]{2,1,0} fusion(%w, %x), kind=kOutput, calls=%product
}
%main () -> f32[] {
  %while = f32[64,16,32]{2,1,0} while(%start), condition=%cond, body=%body
}
"""


def test_the_time_of_a_step_is_bounded_by_launches_transfers_operations_and_waits():
    config = roofline.Config(peak=1e12, bandwidth=1e9, floors=(1.0, 6.0), waits=(10.0, 30.0))
    kernels = [Kernel("launch", 0, 0), Kernel("transfer", 5000, 0), Kernel("product", 0, 10**7)]
    times = roofline.microseconds(config, Loop(32, kernels, 0), waits=0.5)
    np.testing.assert_allclose(times, [1 + 5 + 10 + 5, 6 + 6 + 10 + 15])


def test_arrays_on_the_chip_of_a_tpu_are_not_transferred_and_its_products_are_convolutions():
    program = SimpleNamespace(executable=SimpleNamespace(as_text=lambda: TPU_TEXT))
    (step,) = loops(program)
    assert step == Loop(
        None, [Kernel("fusion", 4 * 64 * 16 * 32 + 32 * 784, 2 * 64 * 16 * 32 * 784)], 0
    )
