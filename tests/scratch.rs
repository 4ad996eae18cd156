#[macro_export]
macro_rules! fl_test { (async fn $n:ident() $b:block) => { #[test] fn $n() { pollster::block_on(async $b) } } }
mod harness {
    pub async fn gpu() -> fledgling::gpu::Gpu {
        let g = fledgling::gpu::Gpu::new().await.unwrap();
        eprintln!("{:?}", g.caps());
        g
    }
}
#[path = "suite/opcase.rs"]
mod opcase;
#[path = "suite/ops_norm.rs"]
mod ops_norm;
