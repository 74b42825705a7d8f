//! NumPy's files of one array (format 1.0), for the types a tensor can have.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use predictor::{Tensor, TensorData};

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// Reads an array in C order.
pub(crate) fn read(path: &Path) -> anyhow::Result<Tensor> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let rest = bytes.strip_prefix(MAGIC).context("not a .npy file of version 1.0")?;
    let (length, rest) = rest.split_at_checked(2).context("no header")?;
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let (header, data) = rest.split_at_checked(length).context("no header")?;
    let header = std::str::from_utf8(header)?;
    ensure!(header.contains("'fortran_order': False"), "not in C order");
    let after = |key: &str| header.split(key).nth(1).with_context(|| format!("no {key} in {header}"));
    let dtype = after("'descr': '")?.split('\'').next().unwrap_or_default();
    let shape = after("'shape': (")?.split(')').next().unwrap_or_default();
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let data = match dtype {
        "<f4" => TensorData::Float32(data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        "<f8" => TensorData::Float64(data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()),
        "<i4" => TensorData::Int32(data.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect()),
        "<i8" => TensorData::Int64(data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()),
        "|b1" => TensorData::Bool(data.iter().map(|b| *b != 0).collect()),
        other => bail!("{other} is no type of a tensor"),
    };
    Ok(Tensor::new(shape, data)?)
}

/// Writes an array.
pub(crate) fn write(path: &Path, tensor: &Tensor) -> anyhow::Result<()> {
    let (dtype, data): (&str, Vec<u8>) = match tensor.data() {
        TensorData::Float32(data) => ("<f4", data.iter().flat_map(|x| x.to_le_bytes()).collect()),
        TensorData::Float64(data) => ("<f8", data.iter().flat_map(|x| x.to_le_bytes()).collect()),
        TensorData::Int32(data) => ("<i4", data.iter().flat_map(|x| x.to_le_bytes()).collect()),
        TensorData::Int64(data) => ("<i8", data.iter().flat_map(|x| x.to_le_bytes()).collect()),
        TensorData::Bool(data) => ("|b1", data.iter().map(|x| u8::from(*x)).collect()),
    };
    let axes: String = tensor.shape().iter().map(|axis| format!("{axis},")).collect();
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({axes}), }}");
    while !(MAGIC.len() + 2 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len())?.to_le_bytes();
    std::fs::write(path, [MAGIC, &length, header.as_bytes(), &data].concat())?;
    Ok(())
}
