//! Masking, RFC 6455 §5.3: payload byte `i` is xored with byte `i mod 4` of the key. It is its own inverse.

/// Masks or unmasks `payload`, whose first byte meets the first byte of `key`.
///
/// Sixteen bytes at a time, which every x86-64 and AArch64 has registers for without asking at run time.
#[inline]
pub fn apply(payload: &mut [u8], key: [u8; 4]) {
    if payload.len() < WIDE {
        return apply_narrow(payload, key);
    }
    apply_wide(payload, key);
}

/// As [`apply`], from one place to another of the same length: one pass for what is to be copied anyway.
///
/// # Panics
/// When the lengths differ.
#[inline]
pub fn copy(payload: &[u8], key: [u8; 4], to: &mut [u8]) {
    if payload.len() < WIDE {
        to.copy_from_slice(payload);
        return apply_narrow(to, key);
    }
    copy_wide(payload, key, to);
}

/// As [`apply`] on the bytes of `window` from `gap` on, which at the same time move down to its front: one pass for
/// what is to be unmasked and closed up behind what was sent before.
#[inline]
pub(crate) fn apply_down(window: &mut [u8], gap: usize, key: [u8; 4]) {
    let lane = u128::from(u32::from_ne_bytes(key)) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
    let end = window.len() - gap;
    let mut at = 0;
    // Each chunk is read whole before it is written, and what it is written over was read before.
    while at + WIDE <= end {
        let mut chunk = [0; WIDE];
        chunk.copy_from_slice(&window[at + gap..at + gap + WIDE]);
        for bytes in chunk.as_chunks_mut::<4>().0 {
            *bytes = (u32::from_ne_bytes(*bytes) ^ lane as u32).to_ne_bytes();
        }
        window[at..at + WIDE].copy_from_slice(&chunk);
        at += WIDE;
    }
    while let Some(&chunk) = window[at + gap..].first_chunk() {
        let chunk = (u128::from_ne_bytes(chunk) ^ lane).to_ne_bytes();
        window[at..at + 16].copy_from_slice(&chunk);
        at += 16;
    }
    if let Some(&chunk) = window[at + gap..].first_chunk() {
        let chunk = (u64::from_ne_bytes(chunk) ^ lane as u64).to_ne_bytes();
        window[at..at + 8].copy_from_slice(&chunk);
        at += 8;
    }
    if let Some(&chunk) = window[at + gap..].first_chunk() {
        let chunk = (u32::from_ne_bytes(chunk) ^ lane as u32).to_ne_bytes();
        window[at..at + 4].copy_from_slice(&chunk);
        at += 4;
    }
    for byte in key.iter().take(end - at) {
        window[at] = window[at + gap] ^ byte;
        at += 1;
    }
}

/// The key as byte `n` of the payload meets it, after the first `n` bytes were done.
#[inline]
pub fn rotated(key: [u8; 4], n: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right((n as u32 & 3) * 8).to_le_bytes()
}

const WIDE: usize = 64;

fn apply_wide(payload: &mut [u8], key: [u8; 4]) {
    let lane = u32::from_ne_bytes(key);
    let (chunks, rest) = payload.as_chunks_mut::<WIDE>();
    for chunk in chunks {
        for bytes in chunk.as_chunks_mut::<4>().0 {
            *bytes = (u32::from_ne_bytes(*bytes) ^ lane).to_ne_bytes();
        }
    }
    apply_narrow(rest, key);
}

fn copy_wide(payload: &[u8], key: [u8; 4], to: &mut [u8]) {
    assert_eq!(payload.len(), to.len(), "it goes where it fits");
    let lane = u32::from_ne_bytes(key);
    let (from, from_rest) = payload.as_chunks::<WIDE>();
    let (to, to_rest) = to.as_chunks_mut::<WIDE>();
    for (from, to) in from.iter().zip(to) {
        for (from, to) in from.as_chunks::<4>().0.iter().zip(to.as_chunks_mut::<4>().0) {
            *to = (u32::from_ne_bytes(*from) ^ lane).to_ne_bytes();
        }
    }
    to_rest.copy_from_slice(from_rest);
    apply_narrow(to_rest, key);
}

/// The few bytes of a small message, without a loop to set up for each width.
#[inline]
fn apply_narrow(payload: &mut [u8], key: [u8; 4]) {
    let lane = u128::from(u32::from_ne_bytes(key)) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
    let mut at = 0;
    while let Some(bytes) = payload[at..].first_chunk_mut::<16>() {
        *bytes = (u128::from_ne_bytes(*bytes) ^ lane).to_ne_bytes();
        at += 16;
    }
    if let Some(bytes) = payload[at..].first_chunk_mut::<8>() {
        *bytes = (u64::from_ne_bytes(*bytes) ^ lane as u64).to_ne_bytes();
        at += 8;
    }
    if let Some(bytes) = payload[at..].first_chunk_mut::<4>() {
        *bytes = (u32::from_ne_bytes(*bytes) ^ lane as u32).to_ne_bytes();
        at += 4;
    }
    for (byte, key) in payload[at..].iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_3_the_text_hello_masked_as_in_s5_7() {
        let mut bytes = *b"Hello";
        apply(&mut bytes, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(bytes, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn s5_3_what_moves_down_is_unmasked_as_what_stays() {
        let key = [0x12, 0x34, 0x56, 0x78];
        for len in 0..300 {
            for gap in [1, 2, 4, 7, 8, 63, 64, 65, 200] {
                let mut window: Vec<u8> = (0..len + gap).map(|i| (i * 7 % 251) as u8).collect();
                let mut want = window[gap..].to_vec();
                apply(&mut want, key);
                apply_down(&mut window, gap, key);
                assert_eq!(window[..len], want, "{len} bytes by {gap}");
            }
        }
    }

    #[test]
    fn s5_3_every_length_to_300_at_every_offset_equals_the_formula() {
        let key = [0x12, 0x34, 0x56, 0x78];
        for len in 0..300 {
            let plain: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            let want: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
            let mut whole = plain.clone();
            apply(&mut whole, key);
            assert_eq!(whole, want);
            let mut copied = vec![0; len];
            copy(&plain, key, &mut copied);
            assert_eq!(copied, want);
            let at = len / 3;
            let mut parts = plain;
            let (first, second) = parts.split_at_mut(at);
            apply(first, key);
            apply(second, rotated(key, at));
            assert_eq!(parts, want);
        }
    }
}
