"""Texts of compiled programs, written by hand."""

import textwrap

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


# A kernel as TPUs have it, of one array.
KERNEL = (
  '%y = f32[4]{0} custom-call(%x), custom_call_target="tpu_custom_call",'
  ' backend_config={"custom_call_config":{"body":"","cost_estimate":'
  '{"flops":"70","transcendentals":"4","bytes_accessed":"32"}}}'
)


def entry(*lines, before=""):
  """A program with these lines in its entry."""
  body = "\n".join(f"  {line}" for line in lines)
  return hlo.parse(
    f"HloModule m\n\n{before}ENTRY %main () -> f32[] {{\n{body}\n}}\n"
  )
