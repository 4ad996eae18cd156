//! Parameters under the keys of a Hugging Face checkpoint. Several keys may share one tensor as ranges of its rows (q, k, v;
//! gate, up), so that one dispatch serves them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::graph::{Arena, Desc, Exec, Tensor};
use crate::tensor::DType;
use crate::{Error, Result};

/// A tensor to be allocated.
#[derive(Clone, Debug)]
pub struct ParamSpec {
    /// Name of the tensor; the checkpoint key itself where nothing is fused.
    pub name: String,
    /// (rows, columns) of a matrix, (length) of a vector.
    pub shape: Vec<usize>,
    pub dtype: DType,
    /// The checkpoint keys inside it, in order of their rows; none of what is computed.
    pub parts: Vec<PartSpec>,
    /// A constant never learns.
    pub constant: bool,
}

impl ParamSpec {
    /// Shape of one of its parts in the checkpoint.
    pub fn part_shape(&self, part: &PartSpec) -> Vec<usize> {
        match self.shape[..] {
            [_, cols] if part.transposed => vec![cols, part.rows],
            [_, cols] => vec![part.rows, cols],
            _ => vec![part.rows],
        }
    }
}

/// One checkpoint key inside a tensor.
#[derive(Clone, Debug)]
pub struct PartSpec {
    pub path: String,
    /// Rows of a matrix, elements of a vector.
    pub rows: usize,
    /// The checkpoint stores (in, out): GPT-2's Conv1D.
    pub transposed: bool,
}

/// Where a tensor is in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamId(usize);

impl ParamId {
    /// The id that `specs[index]` will have.
    pub fn new(index: usize) -> Self {
        ParamId(index)
    }

    /// Its place among the specs.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Where a checkpoint key lives.
#[derive(Clone, Debug)]
pub struct Param {
    pub id: ParamId,
    /// First row (element of a vector) inside the tensor.
    pub first: usize,
    pub rows: usize,
    pub transposed: bool,
    /// Shape in the checkpoint.
    pub shape: Vec<usize>,
}

/// All parameters of a model.
pub struct ParamStore {
    exec: Exec,
    /// Behind a cell: merging an adapter replaces a quantized tensor by a 16-bit one.
    tensors: RefCell<Vec<Tensor>>,
    names: BTreeMap<String, ParamId>,
    index: BTreeMap<String, Param>,
    arena: Option<Arena>,
    grads: RefCell<Option<Arena>>,
}

impl ParamStore {
    /// Allocates zeroed tensors. With `trainable`, all are F32 and share one flat buffer, so that one dispatch can update them.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when quantized rows are not whole blocks.
    pub fn allocate(exec: &Exec, specs: &[ParamSpec], trainable: bool) -> Result<ParamStore> {
        let mut store = ParamStore {
            exec: exec.clone(),
            tensors: RefCell::default(),
            names: BTreeMap::new(),
            index: BTreeMap::new(),
            arena: None,
            grads: RefCell::default(),
        };
        let tensors = if trainable {
            let parts: Vec<_> = specs.iter().filter(|s| !s.constant).map(|s| (s.name.clone(), s.shape.clone())).collect();
            let arena = Arena::zeros(exec, "parameters", &parts)?;
            let mut learned = arena.parts.clone().into_iter();
            let tensor = |s: &ParamSpec| match s.constant {
                false => learned.next().ok_or_else(|| Error::shape("parameters", "fewer parts than learn")),
                true => Tensor::zeros(exec, &s.name, Desc::f32(&s.shape)),
            };
            let tensors = specs.iter().map(tensor).collect::<Result<Vec<_>>>()?;
            store.arena = Some(arena);
            tensors
        } else {
            specs
                .iter()
                .map(|s| Tensor::zeros(exec, &s.name, Desc { shape: s.shape.clone(), dtype: s.dtype }))
                .collect::<Result<Vec<_>>>()?
        };
        for (i, spec) in specs.iter().enumerate() {
            let id = ParamId(i);
            store.names.insert(spec.name.clone(), id);
            let mut first = 0;
            for part in &spec.parts {
                let param = Param { id, first, rows: part.rows, transposed: part.transposed, shape: spec.part_shape(part) };
                store.index.insert(part.path.clone(), param);
                first += part.rows;
            }
            debug_assert!(spec.parts.is_empty() || first == spec.shape[0], "{}", spec.name);
        }
        store.tensors = RefCell::new(tensors);
        Ok(store)
    }

    pub fn exec(&self) -> &Exec {
        &self.exec
    }

    /// The tensor called `name` (not a checkpoint key).
    pub fn id(&self, name: &str) -> Option<ParamId> {
        self.names.get(name).copied()
    }

    pub fn tensor(&self, id: ParamId) -> Tensor {
        self.tensors.borrow()[id.0].clone()
    }

    /// Puts another tensor of the same shape in place of one.
    pub fn replace(&self, id: ParamId, tensor: Tensor) {
        self.tensors.borrow_mut()[id.0] = tensor;
    }

    /// Where a checkpoint key lives.
    pub fn find(&self, path: &str) -> Option<&Param> {
        self.index.get(path)
    }

    /// All checkpoint keys, in alphabetical order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Number of parameters.
    pub fn parameters(&self) -> u64 {
        self.tensors.borrow().iter().map(|t| t.desc().len() as u64).sum()
    }

    /// Bytes on the GPU.
    pub fn bytes(&self) -> u64 {
        self.tensors.borrow().iter().map(|t| t.desc().gpu_bytes()).sum()
    }

    /// The flat buffer of a trainable store; its parts are in the order of the specs.
    pub fn arena(&self) -> Option<&Arena> {
        self.arena.as_ref()
    }

    /// Gives every parameter of a trainable store a gradient; the flat gradient buffer.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when the store is frozen, [`Error::OutOfMemory`].
    pub fn train(&self) -> Result<Tensor> {
        let arena = self
            .arena
            .as_ref()
            .ok_or_else(|| Error::config("trainable", "this model was loaded frozen: full training needs LoadOptions::trainable"))?;
        if self.grads.borrow().is_none() {
            let parts: Vec<_> = arena.parts.iter().map(|p| (format!("d{}", p.name()), p.desc().shape.clone())).collect();
            let grads = Arena::zeros(&self.exec, "gradients", &parts)?;
            for (p, g) in arena.parts.iter().zip(&grads.parts) {
                p.set_grad(Some(g.clone()));
            }
            *self.grads.borrow_mut() = Some(grads);
        }
        Ok(self.grads.borrow().as_ref().expect("set above").flat.clone())
    }

    /// Takes the gradients away again.
    pub fn freeze(&self) {
        if let Some(arena) = &self.arena {
            arena.parts.iter().for_each(|p| p.set_grad(None));
        }
        *self.grads.borrow_mut() = None;
    }

    fn require(&self, path: &str) -> Result<&Param> {
        self.find(path).ok_or_else(|| Error::config(path, "is not a parameter of this model"))
    }

    /// Values of a checkpoint key in the checkpoint's layout, as f32.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for an unknown key, or what the device reports.
    pub async fn read(&self, path: &str) -> Result<Vec<f32>> {
        let p = self.require(path)?;
        self.read_from(p, &self.tensor(p.id)).await
    }

    /// The gradient of a checkpoint key in the checkpoint's layout.
    ///
    /// # Errors
    /// As [`ParamStore::read`]; also when it has none.
    pub async fn read_grad(&self, path: &str) -> Result<Vec<f32>> {
        let p = self.require(path)?;
        let grad = self.tensor(p.id).grad().ok_or_else(|| Error::config(path, "has no gradient"))?;
        self.read_from(p, &grad).await
    }

    async fn read_from(&self, p: &Param, tensor: &Tensor) -> Result<Vec<f32>> {
        let cols = tensor.desc().cols();
        let values = if tensor.desc().shape.len() == 1 {
            tensor.read_rows(&self.exec, 0, 1).await?[p.first..p.first + p.rows].to_vec()
        } else {
            tensor.read_rows(&self.exec, p.first, p.rows).await?
        };
        Ok(if p.transposed && tensor.desc().shape.len() > 1 { transpose(&values, p.rows, cols) } else { values })
    }

    /// Sets rows of a checkpoint key from bytes of its tensor's own type; `row` counts inside the key (elements for a vector). Not for
    /// transposed keys.
    ///
    /// # Errors
    /// [`Error::Shape`] when the bytes are not whole rows of it.
    pub fn write_rows(&self, p: &Param, row: usize, bytes: &[u8]) -> Result<()> {
        let t = self.tensor(p.id);
        if t.desc().shape.len() == 1 {
            t.write_elements(&self.exec, p.first + row, bytes)
        } else {
            t.write_rows(&self.exec, p.first + row, bytes)
        }
    }

    /// Sets all values of an F32 checkpoint key, given in the checkpoint's layout.
    ///
    /// # Errors
    /// [`Error::Shape`] when the count or the tensor's type does not fit.
    pub fn set(&self, path: &str, values: &[f32]) -> Result<()> {
        let p = self.require(path)?;
        let t = self.tensor(p.id);
        if t.desc().dtype != DType::F32 || values.len() != p.shape.iter().product::<usize>() {
            return Err(Error::shape(path, format!("{} f32 values for {:?} of {}", values.len(), p.shape, t.desc().dtype.name())));
        }
        if p.transposed && p.shape.len() == 2 {
            let turned = transpose(values, p.shape[0], p.shape[1]);
            return self.write_rows(p, 0, bytemuck::cast_slice(&turned));
        }
        self.write_rows(p, 0, bytemuck::cast_slice(values))
    }
}

/// (rows, cols) → (cols, rows).
pub fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for c in 0..cols {
        for r in 0..rows {
            out.push(values[r * cols + c]);
        }
    }
    out
}
