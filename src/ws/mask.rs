//! Masking (RFC 6455 section 5.3): XOR with a key of four bytes, repeated.

/// Masks or unmasks `payload` in place. `offset` is how many bytes of the frame's payload came
/// before it, so that a payload may be handled in parts.
///
/// Written over words so that the compiler vectorises it.
pub fn apply_mask(payload: &mut [u8], key: [u8; 4], offset: usize) {
    let key = u32::from_ne_bytes(key);
    // The key as it stands at the first byte: rotated by the bytes already used.
    let used_bits = 8 * (offset % 4) as u32;
    let key = if cfg!(target_endian = "little") {
        key.rotate_right(used_bits)
    } else {
        key.rotate_left(used_bits)
    };
    let wide = (u64::from(key) << 32) | u64::from(key);

    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let masked = u64::from_ne_bytes(word.try_into().expect("chunks of 8")) ^ wide;
        word.copy_from_slice(&masked.to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_equals_the_formula_of_section_5_3_at_every_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..70 {
            for offset in 0..9 {
                let plain: Vec<u8> = (0..length).map(|i| i as u8).collect();
                let mut masked = plain.clone();
                apply_mask(&mut masked, key, offset);
                let expected: Vec<u8> =
                    plain.iter().enumerate().map(|(i, b)| b ^ key[(i + offset) % 4]).collect();
                assert_eq!(masked, expected, "length {length}, offset {offset}");
            }
        }
    }
}
