// Index of a thread (or of a workgroup) in a grid that gpu::Gpu::grid folded into two dimensions.
fn linear_id(gid: vec3<u32>, nwg: vec3<u32>, threads: u32) -> u32 {
  return gid.x + gid.y * nwg.x * threads;
}
fn linear_group(wid: vec3<u32>, nwg: vec3<u32>) -> u32 {
  return wid.x + wid.y * nwg.x;
}
