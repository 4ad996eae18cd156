//! What an adapter offers.

/// What the adapter offers, read at run time.
#[derive(Clone, Debug)]
pub struct Caps {
    pub name: String,
    pub vendor: String,
    pub backend: String,
    pub driver: String,
    /// A processor pretends to be a GPU: barriers are ruinous there.
    pub is_software: bool,
    /// A card with memory of its own, as far as the platform says so (browsers do not).
    pub is_discrete: bool,
    pub subgroups: bool,
    pub subgroup_min: u32,
    pub subgroup_max: u32,
    pub timestamps: bool,
    /// Bytes of the largest storage binding.
    pub max_binding: u64,
    /// Bytes of the largest buffer.
    pub max_buffer: u64,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Threads in a workgroup.
    pub max_threads: u32,
    pub max_storage_buffers: u32,
    /// Workgroups in one dimension of a dispatch.
    pub max_groups: u32,
}

impl Caps {
    /// The features in use, by name.
    pub fn features(&self) -> Vec<String> {
        let mut f = Vec::new();
        if self.subgroups {
            f.push(format!("subgroups ({}–{})", self.subgroup_min, self.subgroup_max));
        }
        if self.timestamps {
            f.push("timestamp-query".into());
        }
        f
    }
}
