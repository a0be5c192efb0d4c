//! permessage-deflate for one peer, RFC 7692: what is agreed with it, and whose codec its messages go through.
//!
//! Without context takeover a message refers to none before it, so all connections of a loop share one inflater, and
//! one compressor for each window size in use. With it, a connection has its own, made when first needed, under a
//! budget that is reserved as the handshake ends.

use super::{Aside, Block, Buffer, Commons, Connection, Fault, MESSAGE_HEADROOM, Pool, State};
use crate::{
    config::Deflate,
    wire::{
        deflate::{Compressor, Inflated, Inflater},
        extension::DeflateParameters,
    },
};
use std::ops::Range;

/// Of a connection's flags: compressed messages may come.
pub(super) const DEFLATE: u16 = 1 << 4;
/// Of a connection's flags: messages that we compress may refer to those before.
const OWN_CONTEXT: u16 = 1 << 5;
/// Of a connection's flags: messages that the peer compresses may.
const PEER_CONTEXT: u16 = 1 << 6;
/// Of a connection's flags: the window to compress with, an index below [`WINDOWS`]; 0 where nothing is compressed.
const WINDOW: u16 = 0b111 << 8;

/// Least window that can be compressed with, less one: so the sizes 9 to 15 are 1 to 7.
const WINDOW_BITS_BASE: u8 = 8;
/// Sizes of a window, and none.
pub(crate) const WINDOWS: usize = 8;
/// The largest window: who takes messages compressed with it takes any.
pub(crate) const WINDOW_MAX: usize = WINDOWS - 1;
/// Bytes inflated at a time, between two looks at the limit.
const STEP_BYTES: usize = 64 << 10;

/// Bytes read at a time from a peer that may compress: DEFLATE makes at most some 1,030 times as many of them, which is
/// ten milliseconds of work or so, between which others have their turns. With 8 KiB an honest peer's messages would be cut
/// so often that it is served 0.6 times as many of 16 KiB.
pub(crate) const COMPRESSED_READ_BYTES_MAX: usize = 32 << 10;

/// What of compression all connections of one loop share.
#[derive(Debug)]
pub(crate) struct Codecs {
    settings: Deflate,
    compressors: [Option<Compressor>; WINDOWS],
    inflater: Option<Inflater>,
    /// The compressed form of the last message that was assembled and may be sent on.
    assembled: Block,
    contexts: Vec<Option<Contexts>>,
    /// Places among them that are free.
    free: Vec<u32>,
    context_bytes: u64,
    context_bytes_max: u64,
}

/// The codecs of a connection whose messages refer to those before.
#[derive(Debug)]
struct Contexts {
    reserved_bytes: u64,
    compressor: Option<Compressor>,
    /// The peer's window holds what this compressor has not seen: it has to start anew.
    is_stale: bool,
    inflater: Option<Inflater>,
}

/// How both sides compress from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    window_bits: u8,
    own_context: bool,
    peer_context: bool,
}

impl Agreed {
    fn context_bytes(&self) -> u64 {
        let own = if self.own_context { Compressor::bytes(self.window_bits) } else { 0 };
        let peer = if self.peer_context { Inflater::BYTES } else { 0 };
        own + peer
    }
}

impl Codecs {
    pub(super) fn new(settings: Deflate, context_bytes_max: u64) -> Codecs {
        Codecs {
            settings: settings.clamped(),
            compressors: Default::default(),
            inflater: None,
            assembled: Block::default(),
            contexts: Vec::new(),
            free: Vec::new(),
            context_bytes: 0,
            context_bytes_max,
        }
    }

    /// Whoever has contexts keeps them.
    pub(super) fn set_context_bytes_max(&mut self, context_bytes_max: u64) {
        self.context_bytes_max = context_bytes_max;
    }

    /// What a server answers to an offer, and what that means; `None` declines it. RFC 7692 §7.1
    pub(super) fn answer(&self, offer: &DeflateParameters) -> Option<(DeflateParameters, Agreed)> {
        let (ours, theirs) = (self.settings.window_bits_max, self.settings.peer_window_bits_max);
        let asked = offer.server_max_window_bits;
        // §7.1.2.1: the codec has no window of 8 bits.
        if !self.settings.enabled || asked.is_some_and(|bits| bits <= WINDOW_BITS_BASE) {
            return None;
        }
        let window_bits = asked.unwrap_or(ours).min(ours);
        let mut agreed = Agreed {
            window_bits,
            own_context: !offer.server_no_context_takeover,
            peer_context: !offer.client_no_context_takeover,
        };
        if agreed.context_bytes() > self.context_bytes_max.saturating_sub(self.context_bytes) {
            (agreed.own_context, agreed.peer_context) = (false, false);
        }
        let answer = DeflateParameters {
            server_no_context_takeover: !agreed.own_context,
            client_no_context_takeover: !agreed.peer_context,
            server_max_window_bits: (asked.is_some() || ours < 15).then_some(window_bits),
            // §7.1.2.2: only to a client that says it understands.
            client_max_window_bits: offer
                .client_max_window_bits
                .map(|hint| hint.min(theirs))
                .filter(|&bits| bits < 15),
        };
        Some((answer, agreed))
    }

    /// What a client offers: contexts only if there is room for them, which is kept until [`Codecs::end_offer`], for
    /// an answer that wants them cannot be declined. RFC 7692 §7.1
    pub(super) fn offer(&mut self) -> Option<DeflateParameters> {
        let Deflate { enabled, window_bits_max, peer_window_bits_max, .. } = self.settings;
        let wanted = self.offered_bytes();
        let takes_over = enabled && wanted <= self.context_bytes_max.saturating_sub(self.context_bytes);
        self.context_bytes += if takes_over { wanted } else { 0 };
        enabled.then_some(DeflateParameters {
            server_no_context_takeover: !takes_over,
            client_no_context_takeover: !takes_over,
            server_max_window_bits: (peer_window_bits_max < 15).then_some(peer_window_bits_max),
            client_max_window_bits: Some(window_bits_max),
        })
    }

    /// The answer to our offer is there, or will never be.
    pub(super) fn end_offer(&mut self, offer: &DeflateParameters) {
        if !offer.server_no_context_takeover {
            self.context_bytes -= self.offered_bytes();
        }
    }

    fn offered_bytes(&self) -> u64 {
        let window_bits = self.settings.window_bits_max;
        Agreed { window_bits, own_context: true, peer_context: true }.context_bytes()
    }

    /// What a server's answer to our offer means.
    pub(super) fn agreed(&self, offer: &DeflateParameters, answer: &DeflateParameters) -> Agreed {
        let ours = self.settings.window_bits_max;
        Agreed {
            window_bits: answer.client_max_window_bits.unwrap_or(ours).min(ours),
            own_context: !(offer.client_no_context_takeover || answer.client_no_context_takeover),
            peer_context: !answer.server_no_context_takeover,
        }
    }

    /// Takes the compressed form of the message that was assembled last.
    pub(crate) fn take_assembled(&mut self) -> Block {
        std::mem::take(&mut self.assembled)
    }

    /// Reserves contexts; where they are.
    fn reserve(&mut self, reserved_bytes: u64) -> u32 {
        self.context_bytes += reserved_bytes;
        let contexts = Some(Contexts { reserved_bytes, compressor: None, is_stale: false, inflater: None });
        let place = self.free.pop().unwrap_or(self.contexts.len() as u32);
        match self.contexts.get_mut(place as usize) {
            Some(slot) => *slot = contexts,
            None => self.contexts.push(contexts),
        }
        place
    }

    fn free(&mut self, place: u32) {
        if let Some(contexts) = self.contexts[place as usize].take() {
            self.context_bytes -= contexts.reserved_bytes;
            self.free.push(place);
        }
        if self.free.len() == self.contexts.len() {
            (self.contexts, self.free) = (Vec::new(), Vec::new()); // a crowd's tables go with it
        }
    }

    fn contexts(&mut self, place: u32) -> &mut Contexts {
        self.contexts[place as usize].as_mut().expect("a connection keeps its contexts until it frees them")
    }

    /// Connections that have contexts of their own, and bytes that are reserved for these.
    pub(crate) fn contexts_in_use(&self) -> (usize, u64) {
        (self.contexts.len() - self.free.len(), self.context_bytes)
    }

    /// Whether messages of `len` bytes are compressed, where that was agreed.
    #[inline]
    pub(crate) fn is_worth(&self, len: usize) -> bool {
        self.settings.enabled && len >= self.settings.threshold_bytes.max(1) as usize
    }

    /// `payload`, compressed with a window of `window` on its own; `None` where that makes it no smaller.
    pub(crate) fn compress(&mut self, window: usize, payload: &[u8], pool: &mut Pool) -> Option<Buffer> {
        let level = self.settings.level;
        let compressor = self.compressors[window].get_or_insert_with(|| new_compressor(level, window));
        compressor.reset();
        compress_with(compressor, payload, pool)
    }
}

impl Connection {
    /// Compresses from now on as was agreed.
    pub(super) fn agree(&mut self, agreed: Agreed, commons: &mut Commons) {
        let window = agreed.window_bits.saturating_sub(WINDOW_BITS_BASE);
        self.flags.set(DEFLATE, true);
        self.flags.set_number(WINDOW, u16::from(window));
        self.flags.set(OWN_CONTEXT, agreed.own_context);
        self.flags.set(PEER_CONTEXT, agreed.peer_context);
        let reserved_bytes = agreed.context_bytes();
        if reserved_bytes > 0 {
            self.aside = Some(Box::new(Aside::Contexts(commons.codecs.reserve(reserved_bytes))));
        }
    }

    /// Whether compressed messages may come, be it in the read that ends the handshake.
    #[inline]
    pub(crate) fn may_inflate(&self, commons: &Commons) -> bool {
        self.flags.has(DEFLATE)
            || (commons.codecs.settings.enabled && matches!(self.state, State::Handshake { .. }))
    }

    /// Gives back the codecs that the connection has for itself, or has asked for.
    pub(super) fn release_contexts(&mut self, commons: &mut Commons) {
        match self.aside.take().map(|aside| *aside) {
            Some(Aside::Contexts(place)) => {
                commons.codecs.free(place);
                // Nothing is compressed any more; and what comes is not looked at.
                self.flags.set(OWN_CONTEXT | PEER_CONTEXT | WINDOW, false);
            }
            Some(Aside::Dialled(dialled)) => {
                if let Some(offer) = &dialled.deflate {
                    commons.codecs.end_offer(offer);
                }
            }
            None => {}
        }
    }

    /// Where its own contexts are, if it has any.
    #[inline]
    fn contexts(&self) -> Option<u32> {
        match self.aside.as_deref() {
            Some(&Aside::Contexts(place)) => Some(place),
            _ => None,
        }
    }

    // ------------------------------------------------------------------ §7.2.1: compression

    /// The window to compress a message of `len` bytes with, an index below [`WINDOWS`]; 0 where it is sent as it is.
    #[inline]
    pub(crate) fn window(&self, len: usize, commons: &Commons) -> usize {
        if !self.flags.has(WINDOW) || !commons.codecs.is_worth(len) {
            return 0;
        }
        usize::from(self.flags.number(WINDOW))
    }

    /// `payload` as this peer is to be sent it, if it is worth compressing.
    #[inline]
    pub(crate) fn compress(&self, payload: &[u8], commons: &mut Commons) -> Option<Buffer> {
        match self.window(payload.len(), commons) {
            0 => None,
            window => self.compress_worthy(window, payload, commons),
        }
    }

    #[inline(never)]
    fn compress_worthy(&self, window: usize, payload: &[u8], commons: &mut Commons) -> Option<Buffer> {
        let Commons { codecs, pool, .. } = commons;
        let Some(place) = self.contexts().filter(|_| self.flags.has(OWN_CONTEXT)) else {
            return codecs.compress(window, payload, pool);
        };
        let level = codecs.settings.level;
        let contexts = codecs.contexts(place);
        let compressor = contexts.compressor.get_or_insert_with(|| new_compressor(level, window));
        if contexts.is_stale {
            compressor.reset();
        }
        let compressed = compress_with(compressor, payload, pool);
        contexts.is_stale = compressed.is_none();
        compressed
    }

    /// The peer is sent a message that was compressed for many: its window moves on, and our own compressor's does not.
    #[inline]
    pub(crate) fn sent_shared(&self, commons: &mut Commons) {
        if let Some(place) = self.contexts() {
            commons.codecs.contexts(place).is_stale = true;
        }
    }

    // ------------------------------------------------------------------ §7.2.2: decompression

    /// Puts what a whole message of `payload` inflates to in the connection's buffer, behind its headroom. Whether
    /// `payload` may be sent on as it is: it is smaller, and every inflater can read it on its own.
    pub(super) fn inflate(&mut self, payload: &[u8], commons: &mut Commons) -> Result<bool, Fault> {
        debug_assert!(self.buffer.is_empty());
        let Commons { codecs, pool, limits, received, .. } = commons;
        let keeps_context = self.flags.has(PEER_CONTEXT);
        let inflater = match self.contexts().filter(|_| keeps_context) {
            Some(place) => &mut codecs.contexts(place).inflater,
            None => &mut codecs.inflater,
        };
        let mut inflation = inflater.get_or_insert_with(Inflater::new).begin(payload, keeps_context);
        let limit = limits.message_bytes_max as usize;
        let mut block =
            pool.take(MESSAGE_HEADROOM + payload.len().saturating_mul(4).min(STEP_BYTES).min(limit + 1));
        let mut filled = 0;
        let ended = loop {
            let room = block.len() - MESSAGE_HEADROOM;
            // One byte past the limit tells that there are more than it allows.
            let end = room.min(filled + STEP_BYTES).min(limit + 1);
            match inflation.step(&mut block[MESSAGE_HEADROOM..MESSAGE_HEADROOM + end], filled) {
                Ok(Inflated::Whole(n)) if n <= limit => break Ok(n),
                Ok(Inflated::Part(n)) if n <= limit => filled = n,
                Ok(Inflated::Whole(n) | Inflated::Part(n)) => {
                    received.costly_bytes += n as u64;
                    break Err(Fault::MessageTooBig { len: n as u64, limit: limits.message_bytes_max });
                }
                Err(_) => break Err(Fault::InvalidDeflate),
            }
            if filled == room {
                let more = filled.min(limit + 1 - filled);
                let used = MESSAGE_HEADROOM + filled;
                pool.grow(&mut block, used, used + more, 0);
            }
        };
        match ended {
            Ok(len) => {
                received.inflated_bytes += len as u64;
                received.costly_bytes += len as u64;
                let stands_alone = !keeps_context && !inflation.has_final_block();
                self.buffer = block;
                self.filled = (MESSAGE_HEADROOM + len) as u32;
                Ok(stands_alone && payload.len() < len)
            }
            Err(fault) => {
                pool.give(block);
                Err(fault)
            }
        }
    }

    /// The same for a message that was assembled in the connection's buffer; where among the codecs its compressed form
    /// is until the next one comes, if it may be sent on.
    pub(super) fn inflate_kept(&mut self, commons: &mut Commons) -> Result<Option<Range<usize>>, Fault> {
        let kept = std::mem::take(&mut self.buffer);
        let range = MESSAGE_HEADROOM..self.filled as usize;
        let inflated = self.inflate(&kept[range.clone()], commons);
        let unneeded = match inflated {
            Ok(true) => std::mem::replace(&mut commons.codecs.assembled, kept),
            _ => kept,
        };
        commons.pool.give(unneeded);
        Ok(inflated?.then_some(range))
    }
}

/// Bytes that a compressed message may have whose content may have `limit`: what does not become smaller becomes
/// larger by the headers of its blocks.
pub(super) fn compressed_bytes_max(limit: u32) -> u64 {
    u64::from(limit) + u64::from(limit) / 16 + 64
}

fn new_compressor(level: u8, window: usize) -> Compressor {
    Compressor::new(level, window as u8 + WINDOW_BITS_BASE)
}

fn compress_with(compressor: &mut Compressor, payload: &[u8], pool: &mut Pool) -> Option<Buffer> {
    let mut block = pool.take(payload.len());
    match compressor.compress(payload, &mut block[..payload.len()]) {
        Some(len) => Some(Buffer::of(block, len)),
        None => {
            pool.give(block);
            None
        }
    }
}
