// As dw_rows.wgsl (whose names the file that includes this defines, too), with 4·DW_TQ × 8 outputs per thread, by four threads of a workgroup that
// have the same rows of DW: each loads a quarter of DW_DY and passes it on. `part` is the thread's number among the four.
fn dw_quad(n0: u32, g: u32, part: u32) {
#repeat Q DW_TQ
  let nc$Q = min(n0 + 4u * $Qu + part, DW_N - 1u);
#repeat L 4
  var a$Q_$L = vec4<f32>(0.0);
  var b$Q_$L = vec4<f32>(0.0);
#endrepeat
#endrepeat
  let k4 = p.k >> 2u;
  // Columns beyond the edge read the last ones and are not stored: all four stay together.
  let c = min(g, (p.k >> 3u) - 1u);
  // Four rows per round, so that a sum is fetched from memory and put back once for four products; rows beyond the edge count zero times.
  for (var m0 = DW_FIRST; m0 < p.m; m0 += 4u) {
#repeat U 4
    let m$U = min(m0 + $Uu, p.m - 1u);
    let lo$U = x[m$U * k4 + 2u * c];
    let hi$U = x[m$U * k4 + 2u * c + 1u];
    let on$U = select(0.0, 1.0, m0 + $Uu < p.m);
#endrepeat
#repeat Q DW_TQ
    {
#repeat U 4
      let d$U = DW_DY[m$U * DW_N + nc$Q] * on$U;
#endrepeat
#repeat L 4
      {
#repeat U 4
        let e$U = quadBroadcast(d$U, $Lu);
#endrepeat
        a$Q_$L += e0 * lo0 + e1 * lo1 + e2 * lo2 + e3 * lo3;
        b$Q_$L += e0 * hi0 + e1 * hi1 + e2 * hi2 + e3 * hi3;
      }
#endrepeat
    }
#endrepeat
  }
#repeat Q DW_TQ
#repeat L 4
  if (g == c && n0 + 4u * $Qu + $Lu < DW_N) {
    let at = (n0 + 4u * $Qu + $Lu) * k4 + 2u * g;
#ifdef DW_ADD
    DW[at] += a$Q_$L;
    DW[at + 1u] += b$Q_$L;
#else
    DW[at] = a$Q_$L;
    DW[at + 1u] = b$Q_$L;
#endif
  }
#endrepeat
#endrepeat
}
