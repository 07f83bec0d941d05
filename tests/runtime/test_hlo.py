"""What is read of a program's text, on programs written by hand."""

import textwrap

import pytest

from vdr.runtime import hlo

LOOP = textwrap.dedent("""\
  HloModule jit_step, is_scheduled=true

  %add (a: f32[], b: f32[]) -> f32[] {
    %a = f32[] parameter(0)
    %b = f32[] parameter(1)
    ROOT %sum = f32[] add(%a, %b)
  }

  %slice_of_it (p.0: bf16[12,64,128], p.1: s32[]) -> bf16[1,64,128] {
    %p.0 = bf16[12,64,128]{2,1,0:T(8,128)(2,1)} parameter(0)
    %p.1 = s32[] parameter(1)
    ROOT %ds = bf16[1,64,128]{2,1,0} dynamic-slice(%p.0, %p.1)
  }

  %body (p: (s32[], bf16[8,64], bf16[12,64,128])) -> (s32[], bf16[8,64]) {
    %p = (s32[], bf16[8,64]{1,0}, /*index=2*/bf16[12,64,128]{2,1,0}) parameter(0)
    %i = s32[] get-tuple-element(%p), index=0
    %x = bf16[8,64]{1,0} get-tuple-element(%p), index=1
    %w = bf16[12,64,128]{2,1,0} get-tuple-element(%p), index=2
    %own = bf16[1,64,128]{2,1,0:S(1)} fusion(%w, %i), kind=kLoop, calls=%slice_of_it
    %all = bf16[1,256,128]{2,1,0} all-gather(%own), channel_id=3, replica_groups=[4,4]<=[16], dimensions={1}
    %y = bf16[8,128]{1,0} dot(%x, %all), lhs_contracting_dims={1}, rhs_contracting_dims={0}
    ROOT %out = (s32[], bf16[8,64]{1,0}, bf16[12,64,128]{2,1,0}) tuple(%i, %x, %w)
  }

  %condition (p.2: (s32[], bf16[8,64], bf16[12,64,128])) -> pred[] {
    %p.2 = (s32[], bf16[8,64]{1,0}, bf16[12,64,128]{2,1,0}) parameter(0)
    %bound = s32[] constant(12)
    %now = s32[] get-tuple-element(%p.2), index=0
    ROOT %less = pred[] compare(%now, %bound), direction=LT
  }

  ENTRY %main (arg: bf16[8,64], weights: bf16[12,64,128]) -> f32[256] {
    %arg = bf16[8,64]{1,0} parameter(0)
    %weights = bf16[12,64,128]{2,1,0} parameter(1)
    %zero = s32[] constant(0)
    %start = (s32[], bf16[8,64]{1,0}, bf16[12,64,128]{2,1,0}) tuple(%zero, %arg, %weights)
    %loop = (s32[], bf16[8,64]{1,0}, bf16[12,64,128]{2,1,0}) while(%start), condition=%condition, body=%body
    %gradient = f32[256]{0} constant({...})
    ROOT %total = f32[256]{0} all-reduce(%gradient), channel_id=4, replica_groups={{0,1,2,3}}, to_apply=%add
  }
""")  # noqa: E501


def entry(*lines, before=""):
  """A program with these lines in its entry."""
  body = "\n".join(f"  {line}" for line in lines)
  return hlo.parse(
    f"HloModule m\n\n{before}ENTRY %main () -> f32[] {{\n{body}\n}}\n"
  )


def test_a_loop_counts_as_often_as_it_turns():
  module = hlo.parse(LOOP)
  assert hlo.times(module) == {"main": 1, "body": 12, "slice_of_it": 12}


def test_a_stated_number_of_turns_counts():
  stated = LOOP.replace(
    "body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"7"}}'
  )
  assert hlo.times(hlo.parse(stated))["body"] == 7


def test_collectives_of_a_loop():
  found = {c.kind: c for c in hlo.collectives(hlo.parse(LOOP), 16)}
  assert found.keys() == {"all-gather", "all-reduce"}
  gather, reduce = found["all-gather"], found["all-reduce"]
  assert (gather.times, gather.group, gather.nbytes) == (12, 4, 256 * 128 * 2)
  assert gather.sent == 12 * 256 * 128 * 2 * 3 / 4
  assert not gather.is_async
  assert (reduce.times, reduce.group) == (1, 4)
  assert reduce.sent == 2 * 256 * 4 * 3 / 4


def test_traffic_of_a_loop():
  found = hlo.traffic(hlo.parse(LOOP))
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
  module = entry(
    "%x = f32[8]{0} constant({...})",
    f"%y = f32[8]{{0}} all-reduce(%x), channel_id=1, {groups}, to_apply=%add",
  )
  (found,) = hlo.collectives(module, 16)
  assert found.group == size


def test_a_group_of_one_sends_nothing():
  module = entry(
    "%x = f32[8]{0} constant({...})",
    "%y = f32[8]{0} all-reduce(%x), replica_groups={{0},{1}}, to_apply=%add",
  )
  assert hlo.collectives(module, 2) == []


def test_a_collective_that_is_spread_over_fusions_is_one():
  part = textwrap.dedent("""\
    %NAME (p: bf16[4,8]) -> bf16[16,8] {
      %p = bf16[4,8]{1,0} parameter(0)
      ROOT %g = bf16[16,8]{1,0} all-gather(%p), channel_id=9, replica_groups=[1,4]<=[4], dimensions={0}, frontend_attributes={chain_id="2"}
    }

  """)  # noqa: E501
  module = entry(
    "%x = bf16[4,8]{1,0} constant({...})",
    "%s = bf16[16,8]{1,0} fusion(%x), kind=kCustom, calls=%one",
    "%t = bf16[16,8]{1,0} fusion(%x), kind=kCustom, calls=%two",
    before=part.replace("NAME", "one") + part.replace("NAME", "two"),
  )
  (found,) = hlo.collectives(module, 4)
  assert found.is_async and found.times == 1
  assert found.sent == 16 * 8 * 2 * 3 / 4


def test_an_all_reduce_of_which_a_part_is_kept_is_a_reduce_scatter():
  module = entry(
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
  (found,) = hlo.collectives(module, 4)
  assert found.kind == "reduce-scatter"
  assert found.sent == 16 * 4 * 3 / 4


def test_what_is_begun_and_ended_counts_once():
  module = entry(
    "%x = f32[8]{0} constant({...})",
    "%s = (f32[8]{0}, f32[8]{0}, u32[], u32[]) collective-permute-start(%x),"
    " channel_id=1, source_target_pairs={{0,1},{1,0}}",
    "%d = f32[8]{0} collective-permute-done(%s)",
  )
  (found,) = hlo.collectives(module, 2)
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
  module = entry(
    "%x = f32[8]{0} parameter(0)", "%i = s32[] constant(0)", *lines
  )
  assert hlo.traffic(module) == hlo.Traffic(0.0, float(nbytes))


@pytest.mark.parametrize(
  "stated", ["", " output_to_operand_aliasing={{}: (0, {})},"]
)
def test_what_a_fusion_changes_in_place_counts_as_the_change(stated):
  module = entry(
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
  assert hlo.traffic(module).others == 32
