//! SHA-256 of two streams, side by side on one core.
//!
//! The rounds of one stream wait for one another, so that the SHA instructions of a processor idle for half of the time and more. A second
//! stream fills the gaps: on an AMD EPYC both together take as long as one. Owns those rounds, by FIPS 180-4; on processors without these
//! instructions the crate `sha2` takes the streams one after the other.

use sha2::block_api::compress256;

use super::Digest;

/// What SHA-256 takes at once.
pub type Block = [u8; 64];

/// What the state of a stream is at first (FIPS 180-4, 5.3.3).
const FIRST: [u32; 8] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A stream that is being hashed, block by block.
#[derive(Debug, Clone)]
pub struct Stream {
    state: [u32; 8],
    bytes: u64,
}

impl Stream {
    /// One of which nothing came yet.
    #[must_use]
    pub fn new() -> Self {
        Self { state: FIRST, bytes: 0 }
    }

    /// Takes the next blocks.
    pub fn update(&mut self, blocks: &[Block]) {
        compress256(&mut self.state, blocks);
        self.count(blocks.as_flattened());
    }

    /// Takes the `rest` of the bytes, which need not be whole blocks, and gives the digest of all, and how many they were.
    #[must_use]
    pub fn finish(mut self, rest: &[u8]) -> (u64, Digest) {
        let (blocks, rest) = rest.as_chunks();
        self.update(blocks);
        self.count(rest);
        // A bit, so many zeros that the length ends a block, and the length in bits (FIPS 180-4, 5.1.1).
        let mut last = rest.to_vec();
        last.push(0x80);
        last.resize((last.len() + 8).next_multiple_of(64) - 8, 0);
        last.extend(self.bytes.wrapping_mul(8).to_be_bytes());
        compress256(&mut self.state, last.as_chunks().0);
        let mut digest = [0; 32];
        digest.as_chunks_mut().0.iter_mut().zip(self.state).for_each(|(bytes, word)| *bytes = word.to_be_bytes());
        (self.bytes, Digest::Sha256(digest))
    }

    fn count(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes the next blocks of two streams. Fastest where there are as many of each.
pub fn update(streams: [&mut Stream; 2], blocks: [&[Block]; 2]) {
    let [one, other] = streams;
    let both = blocks[0].len().min(blocks[1].len());
    let [(one_both, one_more), (other_both, other_more)] = blocks.map(|blocks| blocks.split_at(both));
    if compress([&mut one.state, &mut other.state], [one_both, other_both]) {
        one.count(one_both.as_flattened());
        other.count(other_both.as_flattened());
    } else {
        one.update(one_both);
        other.update(other_both);
    }
    one.update(one_more);
    other.update(other_more);
}

/// Takes as many blocks of each of two streams as there are of both; false where this processor cannot.
#[cfg(target_arch = "x86_64")]
fn compress(states: [&mut [u32; 8]; 2], blocks: [&[Block]; 2]) -> bool {
    let can = is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1");
    if can {
        #[expect(unsafe_code, reason = "whether a processor has an instruction is known only when the program runs")]
        // SAFETY: nothing is asked of the caller but the features, which were looked for just now, and SSE2, which each of these has.
        unsafe {
            x86::compress(states, blocks);
        }
    }
    can
}

#[cfg(not(target_arch = "x86_64"))]
fn compress(_: [&mut [u32; 8]; 2], _: [&[Block]; 2]) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The rounds by the SHA extensions of x86, as the manual of Intel describes them.

    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_setzero_si128, _mm_sha256msg1_epu32,
        _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
    };

    use super::Block;

    /// The constants of the rounds (FIPS 180-4, 4.2.2), four in a row for the four rounds of a step.
    const CONSTANTS: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];

    /// A stream between two steps.
    #[derive(Clone, Copy)]
    struct Lane {
        /// The words A, B, E and F of the state, as the instructions want them, the last of them lowest.
        abef: __m128i,
        /// The words C, D, G and H.
        cdgh: __m128i,
        /// The sixteen words of the schedule from which the next come, four in each; where a step took its four it puts those of four steps
        /// later.
        words: [__m128i; 4],
    }

    /// Takes as many blocks of each stream as there are of both.
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    pub(super) fn compress(states: [&mut [u32; 8]; 2], blocks: [&[Block]; 2]) {
        let mut lanes = [load(states[0]), load(states[1])];
        for (one, other) in blocks[0].iter().zip(blocks[1]) {
            let before = lanes;
            lanes[0].words = words(one);
            lanes[1].words = words(other);
            // Written out, so that it is known at each step where its words are: a loop keeps them in memory.
            step::<0>(&mut lanes);
            step::<1>(&mut lanes);
            step::<2>(&mut lanes);
            step::<3>(&mut lanes);
            step::<4>(&mut lanes);
            step::<5>(&mut lanes);
            step::<6>(&mut lanes);
            step::<7>(&mut lanes);
            step::<8>(&mut lanes);
            step::<9>(&mut lanes);
            step::<10>(&mut lanes);
            step::<11>(&mut lanes);
            step::<12>(&mut lanes);
            step::<13>(&mut lanes);
            step::<14>(&mut lanes);
            step::<15>(&mut lanes);
            for (lane, before) in lanes.iter_mut().zip(before) {
                lane.abef = _mm_add_epi32(lane.abef, before.abef);
                lane.cdgh = _mm_add_epi32(lane.cdgh, before.cdgh);
            }
        }
        for (state, lane) in states.into_iter().zip(lanes) {
            *state = store(lane);
        }
    }

    /// Four rounds of both, and the words that are wanted four steps later.
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    #[inline]
    fn step<const AT: usize>(lanes: &mut [Lane; 2]) {
        let constants = four(CONSTANTS[AT]);
        for lane in lanes {
            let [now, next, third, fourth] = [0, 1, 2, 3].map(|later| lane.words[(AT + later) % 4]);
            let sums = _mm_add_epi32(now, constants);
            // Two rounds by the lower sums, two by the upper; the halves of the state change places each time.
            lane.cdgh = _mm_sha256rnds2_epu32(lane.cdgh, lane.abef, sums);
            lane.abef = _mm_sha256rnds2_epu32(lane.abef, lane.cdgh, _mm_shuffle_epi32(sums, 0b00_00_11_10));
            if AT < 12 {
                let sums = _mm_add_epi32(_mm_sha256msg1_epu32(now, next), _mm_alignr_epi8(fourth, third, 4));
                lane.words[AT % 4] = _mm_sha256msg2_epu32(sums, fourth);
            }
        }
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    fn four([first, second, third, fourth]: [u32; 4]) -> __m128i {
        let [first, second, third, fourth] = [first, second, third, fourth].map(u32::cast_signed);
        _mm_set_epi32(fourth, third, second, first)
    }

    /// The first sixteen words of the schedule.
    #[target_feature(enable = "sse2,ssse3")]
    #[inline]
    fn words(block: &Block) -> [__m128i; 4] {
        let mut words = [_mm_setzero_si128(); 4];
        // The bytes of each word the other way round.
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<16>().0) {
            let (low, high) = halves(*bytes);
            *word = _mm_shuffle_epi8(_mm_set_epi64x(high, low), swap);
        }
        words
    }

    fn halves(bytes: [u8; 16]) -> (i64, i64) {
        let [low, high] = [0, 64].map(|shift| (u128::from_le_bytes(bytes) >> shift) as u64);
        (low.cast_signed(), high.cast_signed())
    }

    #[target_feature(enable = "sse2")]
    fn load([a, b, c, d, e, f, g, h]: &[u32; 8]) -> Lane {
        Lane { abef: four([*f, *e, *b, *a]), cdgh: four([*h, *g, *d, *c]), words: [_mm_setzero_si128(); 4] }
    }

    #[target_feature(enable = "sse4.1")]
    fn store(lane: Lane) -> [u32; 8] {
        let [[f, e, b, a], [h, g, d, c]] = [lane.abef, lane.cdgh].map(|words| {
            [_mm_extract_epi32::<0>(words), _mm_extract_epi32::<1>(words), _mm_extract_epi32::<2>(words), _mm_extract_epi32::<3>(words)]
        });
        [a, b, c, d, e, f, g, h].map(i32::cast_unsigned)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hashes two messages side by side, each in pieces of so many blocks.
    fn both(messages: [&[u8]; 2], pieces: [usize; 2]) -> [(u64, Digest); 2] {
        let [(mut one, one_rest), (mut other, other_rest)] = messages.map(|message| message.as_chunks());
        let [mut first, mut second] = [Stream::new(), Stream::new()];
        while !one.is_empty() || !other.is_empty() {
            let (now, later) = one.split_at(pieces[0].min(one.len()));
            let (other_now, other_later) = other.split_at(pieces[1].min(other.len()));
            update([&mut first, &mut second], [now, other_now]);
            (one, other) = (later, other_later);
        }
        [first.finish(one_rest), second.finish(other_rest)]
    }

    #[test]
    fn messages_of_all_lengths_around_a_block_have_their_digests() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..=bytes.len() {
            let messages = [&bytes[..length], &bytes[..bytes.len() - length]];
            let expected = messages.map(|message| (message.len() as u64, Digest::of(message)));
            assert_eq!(both(messages, [1, 1]), expected, "{length}");
            assert_eq!(messages.map(|message| Stream::new().finish(message)), expected, "{length}");
        }
    }

    proptest! {
        #[test]
        fn two_streams_hash_as_each_alone(
            one in proptest::collection::vec(any::<u8>(), 0..3000),
            other in proptest::collection::vec(any::<u8>(), 0..3000),
            pieces in [1_usize..20, 1_usize..20],
        ) {
            let messages = [&*one, &*other];
            prop_assert_eq!(both(messages, pieces), messages.map(|message| (message.len() as u64, Digest::of(message))));
        }

        #[test]
        fn the_instructions_do_what_the_library_does(
            states in any::<[[u32; 8]; 2]>(),
            blocks in proptest::collection::vec(any::<[[u8; 32]; 4]>(), 0..8),
        ) {
            let bytes = blocks.as_flattened().as_flattened();
            let (one, other) = bytes.as_chunks::<64>().0.split_at(blocks.len());
            let mut expected = states;
            let [first, second] = &mut expected;
            compress256(first, one);
            compress256(second, other);
            let mut found = states;
            let [first, second] = &mut found;
            if compress([first, second], [one, other]) {
                prop_assert_eq!(found, expected);
            } else {
                prop_assert_eq!(found, states, "a processor without them changes nothing");
            }
        }
    }
}
