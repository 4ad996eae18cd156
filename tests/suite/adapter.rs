//! Without an adapter nothing of the suite would mean anything, so its absence is a failure with a name of its own.

fl_test!(
    /// Asks wgpu itself, not the engine, so that a broken engine cannot be mistaken for a missing adapter.
    async fn there_is_an_adapter() {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = instance
            .request_adapter(&wgpu::RequestAdapterOptions::default())
            .await
            .unwrap_or_else(|e| panic!("no GPU adapter, and the suite does not run without one: {e}. Natively a Vulkan driver is needed (Debian: mesa-vulkan-drivers), in Chromium the flags of webdriver.json."));
        let info = adapter.get_info();
        report!("adapter: {} ({:?}, {:?}, driver {} {})", info.name, info.backend, info.device_type, info.driver, info.driver_info);
        assert_ne!(info.backend, wgpu::Backend::Noop);
    }
);

fl_test!(
    /// A misspelled class or variant says what there is.
    async fn kernels_that_do_not_exist_are_refused() {
        for (kernels, words) in [
            ("lienar=tile", ["lienar", "linear.big", "rows"]),
            ("rows=grup", ["grup", "serial", "group"]),
            ("linear=reg9000x1", ["reg9000x1", "reg#x#", "tile"]),
            ("attention=8x8", ["8x8", "attention", "rows#x#"]),
            ("rows", ["class=variant", "rows", "kernels"]),
        ] {
            let options = fledgling::gpu::GpuOptions { kernels: Some(kernels.into()), ..Default::default() };
            let e = fledgling::gpu::Gpu::with(&options).await.err().unwrap_or_else(|| panic!("{kernels} was accepted"));
            assert!(e.code() == "bad-config" && words.iter().all(|w| e.to_string().contains(w)), "{kernels}: {e}");
        }
        let fine = "rows=group, linear=reg8x4,linear.m1=vec,linear_dx=reg4,attention_dkv=rows4x4,embedding_dw=rows";
        fledgling::gpu::Gpu::with(&fledgling::gpu::GpuOptions { kernels: Some(fine.into()), ..Default::default() })
            .await
            .expect("they exist");
    }

    async fn the_engine_opens_it() {
        let gpu = crate::harness::gpu().await;
        assert!(!gpu.caps().name.is_empty());
        assert!(gpu.caps().max_binding >= 128 << 20, "binding limit {}", gpu.caps().max_binding);
    }
);
