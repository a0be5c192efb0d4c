//! Frames taken apart leniently, independent of sockeye's own parser: to see what it wrote, and how far a stream of
//! whatever bytes consists of whole frames.

/// A frame as it stands on the wire, unmasked where it was masked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// FIN, RSV and opcode.
    pub first: u8,
    /// Whether it was masked.
    pub masked: bool,
    /// Unmasked.
    pub payload: Vec<u8>,
}

/// The frame that starts `bytes` and how long it is; `None` if it is not whole.
pub fn first_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let field = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut len = u64::from(second & 0x7f);
    if field > 0 {
        len = bytes.get(2..2 + field)?.iter().fold(0, |len, &byte| len << 8 | u64::from(byte));
    }
    let masked = second & 0x80 != 0;
    let start = 2 + field + if masked { 4 } else { 0 };
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    let mut payload = bytes.get(start..end)?.to_vec();
    if masked {
        let key = &bytes[start - 4..start];
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    }
    Some((Frame { first, masked, payload }, end))
}

/// Bytes of all whole frames in front of `bytes`.
pub fn whole_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some((_, len)) = first_frame(&bytes[at..]) {
        at += len;
    }
    at
}

/// What one side wrote: final frames in their shortest form, masked as its role asks, nothing left over.
///
/// # Panics
/// When that is not so.
pub fn well_formed(out: &[u8], masked: bool) -> Vec<Frame> {
    let (mut at, mut frames) = (0, Vec::new());
    while at < out.len() {
        let Some((frame, len)) = first_frame(&out[at..]) else { panic!("half a frame: {:x?}", &out[at..]) };
        assert_eq!(frame.masked, masked, "masking");
        assert!(matches!(frame.first, 0x81 | 0x82 | 0x88 | 0x89 | 0x8a), "first byte {:x}", frame.first);
        assert!(frame.first & 8 == 0 || frame.payload.len() <= 125, "control frame too long");
        let field = match frame.payload.len() {
            0..=125 => 0,
            126..=65_535 => 2,
            _ => 8,
        };
        let header = 2 + field + if masked { 4 } else { 0 };
        assert_eq!(len, header + frame.payload.len(), "length not in its shortest form");
        // §5.5.1 and §5.5.2: after a Close no data, and no other control frame than the answer to a Ping.
        let closed = frames.iter().any(|before: &Frame| before.first == 0x88);
        assert!(!closed || frame.first == 0x8a, "a frame after a Close");
        at += len;
        frames.push(frame);
    }
    frames
}
