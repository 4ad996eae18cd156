//! A GGUF writer: enough for merged exports and for tests.
use super::super::{Array, Metadata, TensorInfo, Value};
use super::DEFAULT_ALIGNMENT;
use crate::error::{Error, Result};
use crate::tensor::DType;

fn string(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}

fn value(out: &mut Vec<u8>, v: &Value) {
    macro_rules! put {
        ($id:expr, $bytes:expr) => {{
            out.extend(u32::to_le_bytes($id));
            out.extend($bytes);
        }};
    }
    match v {
        Value::U8(x) => put!(0, x.to_le_bytes()),
        Value::I8(x) => put!(1, x.to_le_bytes()),
        Value::U16(x) => put!(2, x.to_le_bytes()),
        Value::I16(x) => put!(3, x.to_le_bytes()),
        Value::U32(x) => put!(4, x.to_le_bytes()),
        Value::I32(x) => put!(5, x.to_le_bytes()),
        Value::F32(x) => put!(6, x.to_le_bytes()),
        Value::Bool(x) => put!(7, [u8::from(*x)]),
        Value::String(x) => {
            out.extend(8u32.to_le_bytes());
            string(out, x);
        }
        Value::Array(a) => {
            out.extend(9u32.to_le_bytes());
            array(out, a);
        }
        Value::U64(x) => put!(10, x.to_le_bytes()),
        Value::I64(x) => put!(11, x.to_le_bytes()),
        Value::F64(x) => put!(12, x.to_le_bytes()),
    }
}

fn array(out: &mut Vec<u8>, a: &Array) {
    macro_rules! put {
        ($id:expr, $v:expr) => {{
            out.extend(u32::to_le_bytes($id));
            out.extend((a.len() as u64).to_le_bytes());
            $v.iter().for_each(|x| out.extend(x.to_le_bytes()));
        }};
    }
    match a {
        Array::U8(v) => put!(0, v),
        Array::I8(v) => put!(1, v),
        Array::U16(v) => put!(2, v),
        Array::I16(v) => put!(3, v),
        Array::U32(v) => put!(4, v),
        Array::I32(v) => put!(5, v),
        Array::F32(v) => put!(6, v),
        Array::U64(v) => put!(10, v),
        Array::I64(v) => put!(11, v),
        Array::F64(v) => put!(12, v),
        Array::Bool(v) => {
            out.extend(7u32.to_le_bytes());
            out.extend((v.len() as u64).to_le_bytes());
            out.extend(v.iter().map(|&b| u8::from(b)));
        }
        Array::Nested(v) => {
            out.extend(9u32.to_le_bytes());
            out.extend((v.len() as u64).to_le_bytes());
            out.extend(v.bytes());
        }
        Array::String(v) => {
            out.extend(8u32.to_le_bytes());
            out.extend((v.len() as u64).to_le_bytes());
            v.iter().for_each(|s| string(out, s));
        }
    }
}

/// Where a GGUF to be written puts everything.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The header with its padding: the bytes before the first tensor.
    pub header: Vec<u8>,
    /// The tensors in the order given, with the places their bytes must be written to. Gaps are zeros.
    pub tensors: Vec<TensorInfo>,
    /// Size of the file.
    pub total_bytes: u64,
}

/// Lays out a version 3 file: `tensors` are name, type and shape (outermost first). Writing the tensors' bytes
/// is left to the caller, so that a large model need not be in memory.
pub fn layout(metadata: &Metadata, tensors: &[(String, DType, Vec<usize>)]) -> Result<Layout> {
    let file = &metadata.file;
    let alignment = metadata.opt_u64("general.alignment")?.unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() || alignment < 8 {
        return Err(Error::file(file, format!("general.alignment is {alignment}, expected a power of two from 8 on")));
    }
    let mut header = b"GGUF\x03\0\0\0".to_vec();
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((metadata.len() as u64).to_le_bytes());
    for (k, v) in metadata.iter() {
        string(&mut header, k);
        value(&mut header, v);
    }
    let mut infos = Vec::with_capacity(tensors.len());
    let mut relative = 0u64;
    for (name, dtype, shape) in tensors {
        let dims: Vec<u64> = shape.iter().map(|&d| d as u64).collect();
        let (shape, bytes) = super::super::container::checked_shape(file, name, *dtype, &dims)?;
        if dims.is_empty() || dims.len() > 4 {
            return Err(Error::file(file, format!("tensor {name:?} has {} dimensions, GGUF has 1 to 4", dims.len())));
        }
        let id = dtype.stored().ggml.ok_or_else(|| Error::file(file, format!("tensor {name:?}: GGUF has no type {}", dtype.name())))?;
        string(&mut header, name);
        header.extend((dims.len() as u32).to_le_bytes());
        dims.iter().rev().for_each(|d| header.extend(d.to_le_bytes()));
        header.extend(id.to_le_bytes());
        header.extend(relative.to_le_bytes());
        infos.push(TensorInfo { name: name.clone(), dtype: *dtype, shape, offset: relative, bytes });
        relative += bytes.next_multiple_of(alignment);
    }
    let start = (header.len() as u64).next_multiple_of(alignment);
    header.resize(start as usize, 0);
    infos.iter_mut().for_each(|t| t.offset += start);
    Ok(Layout { header, tensors: infos, total_bytes: start + relative })
}

/// A whole file in memory: `tensors` are name, type, shape (outermost first) and bytes.
pub fn write(metadata: &Metadata, tensors: &[(&str, DType, &[usize], &[u8])]) -> Result<Vec<u8>> {
    let described: Vec<_> = tensors.iter().map(|&(n, d, s, _)| (n.to_string(), d, s.to_vec())).collect();
    let Layout { header: mut out, tensors: infos, total_bytes } = layout(metadata, &described)?;
    for (info, (name, .., bytes)) in infos.iter().zip(tensors) {
        if bytes.len() as u64 != info.bytes {
            return Err(Error::file(
                &metadata.file,
                format!("tensor {name:?} has {} bytes, its shape {:?} needs {}", bytes.len(), info.shape, info.bytes),
            ));
        }
        out.resize(info.offset as usize, 0);
        out.extend_from_slice(bytes);
    }
    out.resize(total_bytes as usize, 0);
    Ok(out)
}
