// DW[n, k] = Σ_m DW_DY[m, n]·x[m, k] with DW_TN × 8 outputs per thread in registers and no barrier (SCALAR: DW_TN × 1). Who includes it defines
// DW (n, k), DW_DY (m, n), their DW_N, DW_TN, DW_FIRST and, to add, DW_ADD.
fn dw_rows(n0: u32, g: u32) {
#repeat J DW_TN
  let nc$J = min(n0 + $Ju, DW_N - 1u);
#endrepeat
#if SCALAR
  if (g >= p.k) { return; }
#repeat J DW_TN
  var acc$J = 0.0;
#endrepeat
  for (var m = DW_FIRST; m < p.m; m++) {
    let v = x[m * p.k + g];
#repeat J DW_TN
    acc$J += DW_DY[m * DW_N + nc$J] * v;
#endrepeat
  }
#repeat J DW_TN
  if (n0 + $Ju < DW_N) {
#ifdef DW_ADD
    DW[(n0 + $Ju) * p.k + g] += acc$J;
#else
    DW[(n0 + $Ju) * p.k + g] = acc$J;
#endif
  }
#endrepeat
#else
  let k4 = p.k >> 2u;
  if (g >= (p.k >> 3u)) { return; }
#repeat J DW_TN
  var a$J = vec4<f32>(0.0);
  var b$J = vec4<f32>(0.0);
#endrepeat
  for (var m = DW_FIRST; m < p.m; m++) {
    let lo = x[m * k4 + 2u * g];
    let hi = x[m * k4 + 2u * g + 1u];
#repeat J DW_TN
    { let d = DW_DY[m * DW_N + nc$J]; a$J += d * lo; b$J += d * hi; }
#endrepeat
  }
#repeat J DW_TN
  if (n0 + $Ju < DW_N) {
    let at = (n0 + $Ju) * k4 + 2u * g;
#ifdef DW_ADD
    DW[at] += a$J;
    DW[at + 1u] += b$J;
#else
    DW[at] = a$J;
    DW[at + 1u] = b$J;
#endif
  }
#endrepeat
#endif
}
