//! GPT-2's spelling of bytes: each is one character that can be printed.
use std::sync::OnceLock;

/// The characters: printable Latin-1 for itself, the rest from U+0100 on.
fn chars() -> &'static [char; 256] {
    static CHARS: OnceLock<[char; 256]> = OnceLock::new();
    CHARS.get_or_init(|| {
        let mut next = 0x100;
        std::array::from_fn(|b| match b as u8 {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => b as u8 as char,
            _ => {
                next += 1;
                char::from_u32(next - 1).expect("below U+0200")
            }
        })
    })
}

/// The character that is written for a byte.
pub fn char_of(b: u8) -> char {
    chars()[b as usize]
}

/// The byte that a character is written for.
pub fn byte_of(c: char) -> Option<u8> {
    match c as u32 {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(c as u32 as u8),
        0x100..=0x143 => chars().iter().position(|x| *x == c).map(|b| b as u8),
        _ => None,
    }
}

/// The bytes that a token is spelled for; none where one of its characters stands for no byte.
pub fn bytes_of(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_character() {
        assert!((0..=255).all(|b| byte_of(char_of(b)) == Some(b)));
        assert_eq!((char_of(b' '), char_of(b'\n'), char_of(0xad)), ('Ġ', 'Ċ', '\u{143}'));
        assert_eq!((byte_of(' '), byte_of('\u{144}')), (None, None));
        assert_eq!(bytes_of("Ġé"), Some(vec![b' ', 0xe9]));
    }
}
