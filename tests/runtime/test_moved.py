"""What programs written by hand move."""

import textwrap

import pytest

from tests.runtime import texts
from vdr.runtime import hlo, moved


def test_collectives_of_a_loop():
  found = {c.kind: c for c in moved.collectives(hlo.parse(texts.LOOP), 16)}
  assert found.keys() == {"all-gather", "all-reduce"}
  gather, reduce = found["all-gather"], found["all-reduce"]
  assert (gather.times, gather.group, gather.nbytes) == (12, 4, 256 * 128 * 2)
  assert gather.sent == 12 * 256 * 128 * 2 * 3 / 4
  assert not gather.is_async
  assert (reduce.times, reduce.group) == (1, 4)
  assert reduce.sent == 2 * 256 * 4 * 3 / 4


def test_traffic_of_a_loop():
  found = moved.traffic(hlo.parse(texts.LOOP))
  all_ = 256 * 128 * 2
  # x and the gathered weights are read, y is written.
  assert found.products == 12 * (8 * 64 * 2 + all_ + 8 * 128 * 2)
  # A slice of the stack into the vector memory, and from there gathered.
  assert found.others == 12 * (64 * 128 * 2 + 4 + all_) + 2 * 256 * 4


@pytest.mark.parametrize(
  ("groups", "size"),
  [
    ("replica_groups={{0,1},{2,3}}", 2),
    ("replica_groups=[2,8]<=[16]", 8),
    ("replica_groups=[4,4]<=[4,4]T(1,0)", 4),
    ("replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0','axis_1'}", 8),
    ("replica_groups=mesh['a'=8,'b'=2] {'a':(2)4}", 4),
    ("replica_groups={}", 16),
  ],
)
def test_groups_in_every_notation(groups, size):
  module = texts.entry(
    "%x = f32[8]{0} constant({...})",
    f"%y = f32[8]{{0}} all-reduce(%x), channel_id=1, {groups}, to_apply=%add",
  )
  (found,) = moved.collectives(module, 16)
  assert found.group == size


def test_a_group_of_one_sends_nothing():
  module = texts.entry(
    "%x = f32[8]{0} constant({...})",
    "%y = f32[8]{0} all-reduce(%x), replica_groups={{0},{1}}, to_apply=%add",
  )
  assert moved.collectives(module, 2) == []


def test_a_collective_that_is_spread_over_fusions_is_one():
  part = textwrap.dedent("""\
    %NAME (p: bf16[4,8]) -> bf16[16,8] {
      %p = bf16[4,8]{1,0} parameter(0)
      ROOT %g = bf16[16,8]{1,0} all-gather(%p), channel_id=9, replica_groups=[1,4]<=[4], dimensions={0}, frontend_attributes={chain_id="2"}
    }

  """)  # noqa: E501
  module = texts.entry(
    "%x = bf16[4,8]{1,0} constant({...})",
    "%s = bf16[16,8]{1,0} fusion(%x), kind=kCustom, calls=%one",
    "%t = bf16[16,8]{1,0} fusion(%x), kind=kCustom, calls=%two",
    before=part.replace("NAME", "one") + part.replace("NAME", "two"),
  )
  (found,) = moved.collectives(module, 4)
  assert found.is_async and found.times == 1
  assert found.sent == 16 * 8 * 2 * 3 / 4


def test_an_all_reduce_of_which_a_part_is_kept_is_a_reduce_scatter():
  module = texts.entry(
    "%x = f32[16]{0} constant({...})",
    "%s = f32[4]{0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1",
    before=textwrap.dedent("""\
      %all-reduce-scatter.1 (p: f32[16]) -> f32[4] {
        %p = f32[16]{0} parameter(0)
        %r = f32[16]{0} all-reduce(%p), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add
        %i = s32[] constant(0)
        ROOT %s = f32[4]{0} dynamic-slice(%r, %i)
      }

    """),  # noqa: E501
  )
  (found,) = moved.collectives(module, 4)
  assert found.kind == "reduce-scatter"
  assert found.sent == 16 * 4 * 3 / 4


def test_what_is_begun_and_ended_counts_once():
  module = texts.entry(
    "%x = f32[8]{0} constant({...})",
    "%s = (f32[8]{0}, f32[8]{0}, u32[], u32[]) collective-permute-start(%x),"
    " channel_id=1, source_target_pairs={{0,1},{1,0}}",
    "%d = f32[8]{0} collective-permute-done(%s)",
  )
  (found,) = moved.collectives(module, 2)
  assert (found.kind, found.sent, found.is_async) == (
    "collective-permute",
    32.0,
    True,
  )


@pytest.mark.parametrize(
  ("lines", "nbytes"),
  [
    # Into the vector memory: read once; inside the memory: read and written.
    (["%s = (f32[8]{0:S(1)}, f32[8]{0}, u32[]) copy-start(%x)"], 32),
    (["%s = (f32[8]{0}, f32[8]{0}, u32[]) copy-start(%x)"], 64),
    (["%s = f32[8]{0:S(1)} copy(%x)"], 32),
    (["%s = f32[8]{0} bitcast(%x)", "%t = (f32[8]{0}) tuple(%s)"], 0),
    (["%s = f32[2]{0} dynamic-slice(%x, %i)"], 16),
    (["%u = f32[2]{0:S(1)} copy(%x)",
      "%s = f32[8]{0} dynamic-update-slice(%x, %u, %i)"], 32),
  ],
)  # fmt: skip
def test_bytes_through_memory(lines, nbytes):
  module = texts.entry(
    "%x = f32[8]{0} parameter(0)", "%i = s32[] constant(0)", *lines
  )
  assert moved.traffic(module) == moved.Traffic(0.0, float(nbytes))


@pytest.mark.parametrize(
  "stated", ["", " output_to_operand_aliasing={{}: (0, {})},"]
)
def test_what_a_fusion_changes_in_place_counts_as_the_change(stated):
  module = texts.entry(
    "%x = f32[100,8]{1,0} parameter(0)",
    "%u = f32[1,8]{1,0:S(1)} constant({...})",
    "%i = s32[]{:S(2)} constant(0)",
    "%s = f32[100,8]{1,0} fusion(%x, %u, %i), kind=kLoop,"
    f"{stated} calls=%change",
    before=textwrap.dedent("""\
      %change (p: f32[100,8], q: f32[1,8], r: s32[]) -> f32[100,8] {
        %p = f32[100,8]{1,0} parameter(0)
        %q = f32[1,8]{1,0} parameter(1)
        %r = s32[] parameter(2)
        ROOT %c = f32[100,8]{1,0} dynamic-update-slice(%p, %q, %r)
      }

    """),
  )
  assert moved.traffic(module).others == 32


def test_what_is_no_number_has_no_bytes():
  module = texts.entry(
    "%x = f32[4]{0} parameter(0)",
    "%t = token[] after-all()",
    "%s = (f32[4]{0}, token[]) custom-call(%x, %t)",
  )
  assert moved.traffic(module) == moved.Traffic(0.0, 32.0)


def test_a_kernel_moves_what_it_is_given_beside_its_products():
  module = texts.entry("%x = f32[4]{0} parameter(0)", texts.KERNEL)
  assert moved.traffic(module) == moved.Traffic(32.0, 0.0)


@pytest.mark.parametrize("name", ["AllocateBuffer", "ConcatBitcast"])
def test_a_name_for_memory_moves_nothing(name):
  module = texts.entry(
    "%x = f32[4]{0} parameter(0)",
    f'%y = f32[4]{{0}} custom-call(%x), custom_call_target="{name}"',
  )
  assert moved.traffic(module) == moved.Traffic(0.0, 0.0)
