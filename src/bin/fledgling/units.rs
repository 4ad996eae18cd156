//! Numbers with units, as people write them.

/// Bytes: a whole number, or one with a unit of 1024s (512M, 2G, 1.5GiB).
///
/// # Errors
/// What was expected.
pub fn bytes(text: &str) -> std::result::Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text[..end].parse::<f64>(), text[end..].to_ascii_lowercase());
    let power = ["", "k", "m", "g", "t"].iter().position(|u| unit.strip_suffix("ib").unwrap_or(unit.trim_end_matches('b')) == *u);
    match (number, power) {
        (Ok(n), Some(power)) if (1.0..9e15).contains(&(n * 1024f64.powi(power as i32))) => Ok((n * 1024f64.powi(power as i32)) as u64),
        _ => Err("expected bytes, such as 2000000000, 512M or 2G".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn units() {
        assert_eq!(["1000", "2k", "1.5GiB", "3MB"].map(|t| bytes(t).ok()), [Some(1000), Some(2048), Some(3 << 29), Some(3 << 20)]);
        assert!(["", "G", "-1", "1x", "0", "1e9"].iter().all(|t| bytes(t).is_err()));
    }
}
