//! The messages of a connection that are on their way, and which of them an echo answers.
//!
//! Messages are numbered in the order of their sending. An echo that is ahead of others leaves
//! these behind: what comes after a later one has been overtaken, what does not come is lost. That
//! is decided when [`OVERTAKEN_MAX`] later ones have been answered, or at the end.

use std::{collections::VecDeque, time::Duration};

use crate::payload::Payloads;

/// How many later messages may be answered before one is taken for lost. Were it answered after
/// that, its echo would count as a repetition.
pub(crate) const OVERTAKEN_MAX: usize = 256;

/// How many messages a corrupt echo is compared with.
const COMPARED_MAX: usize = 64;

/// What was sent and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// When it was to be sent.
    pub(crate) intended: Duration,
    /// When it was written.
    pub(crate) sent: Duration,
}

/// Which message an echo answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    /// This one, to the last byte.
    Whole(u64),
    /// This one, but with other bytes.
    Corrupt(u64),
    /// One of another connection.
    Foreign,
    /// None that was sent.
    Unknown,
}

/// A message that needs to be awaited no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) message: Message,
    /// A later one was answered before.
    pub(crate) was_overtaken: bool,
    /// The loop has waited for it until now, so that another may be sent in its place.
    pub(crate) frees: bool,
}

/// The messages from the oldest that is not answered to the youngest.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// `None` was answered. The first, if there is one, was not.
    messages: VecDeque<Option<Message>>,
    /// How many of them were not answered.
    waiting: u32,
    /// How many of them, from the youngest on, have not been given to the kernel.
    unstamped: u32,
    /// The number of the next message: at least the length of `messages`.
    next: u64,
    /// The last of those that were answered or given up.
    answered: u64,
    /// The loop does not wait for the messages before this one.
    given_up: u64,
}

impl Window {
    /// Takes memory for so many messages and no more.
    pub(crate) fn reserve(&mut self, messages: usize) {
        self.messages.reserve_exact(messages);
    }

    /// The memory it has taken.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.messages.capacity() * size_of::<Option<Message>>()
    }

    /// How many messages were not answered.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting as usize
    }

    /// The number of the message that is sent next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// A message was sent.
    pub(crate) fn push(&mut self, message: Message) {
        self.messages.push_back(Some(message));
        self.waiting += 1;
        self.unstamped += 1;
        self.next += 1;
    }

    /// Gives the messages that have not been given to the kernel, now that they have, and their
    /// numbers.
    pub(crate) fn stamp(&mut self) -> impl Iterator<Item = (u64, &mut Message)> {
        let unstamped = std::mem::take(&mut self.unstamped) as usize;
        let numbers = (0..self.next).rev();
        let messages = numbers.zip(self.messages.iter_mut().rev()).take(unstamped);
        messages.filter_map(|(number, message)| Some((number, message.as_mut()?)))
    }

    /// Gives away the messages with their numbers: nobody answers them here.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (u64, Message)> {
        let first = self.first();
        (self.waiting, self.unstamped) = (0, 0);
        let numbered = (first..).zip(self.messages.drain(..));
        numbered.filter_map(|(sequence, message)| Some((sequence, message?)))
    }

    /// Which message of this connection has such an echo.
    pub(crate) fn identify(&self, payload: &[u8], payloads: &Payloads, connection: u32) -> Echo {
        let first = (self.waiting > 0).then(|| self.first());
        if let Some(first) = first
            && payloads.is(payload, connection, first as u32)
        {
            return Echo::Whole(first);
        }
        if !payloads.are_named() {
            return first.map_or(Echo::Unknown, Echo::Corrupt);
        }
        let named = payloads.named(payload, connection);
        if let Some((owner, number)) = named
            && payloads.is(payload, owner, number)
        {
            return match self.sequence(number) {
                _ if owner != connection => Echo::Foreign,
                Some(sequence) => Echo::Whole(sequence),
                None => Echo::Unknown,
            };
        }
        let own = named.filter(|(owner, _)| *owner == connection);
        let candidate = own.and_then(|(_, number)| self.sequence(number));
        self.closest(payload, payloads, connection, candidate)
    }

    /// The message that a corrupt echo resembles most, the one it names or one that is waiting.
    fn closest(
        &self,
        payload: &[u8],
        payloads: &Payloads,
        connection: u32,
        named: Option<u64>,
    ) -> Echo {
        let waiting = self.messages.iter().zip(self.first()..);
        let waiting = waiting.filter_map(|(message, sequence)| message.map(|_| sequence));
        let mut best: Option<(usize, bool, u64)> = None;
        let mut buffer = Vec::new();
        for sequence in named.into_iter().chain(waiting.take(COMPARED_MAX)) {
            let (likeness, is_enough) =
                payloads.likeness(payload, connection, sequence as u32, &mut buffer);
            if best.is_none_or(|(most, ..)| likeness > most) {
                best = Some((likeness, is_enough, sequence));
            }
        }
        match best {
            Some((_, true, sequence)) => Echo::Corrupt(sequence),
            _ => Echo::Unknown,
        }
    }

    /// A message was answered; `None` if it had been before.
    pub(crate) fn take(&mut self, sequence: u64) -> Option<Settled> {
        let place = usize::try_from(sequence.checked_sub(self.first())?).ok()?;
        let message = self.messages.get_mut(place)?.take()?;
        self.waiting -= 1;
        let was_overtaken = sequence < self.answered;
        self.answered = self.answered.max(sequence);
        let frees = sequence >= self.given_up;
        self.drop_answered();
        Some(Settled { message, was_overtaken, frees })
    }

    /// The oldest message, if so many later ones were answered that it must be lost.
    pub(crate) fn take_lost(&mut self) -> Option<Settled> {
        let overtook = self.messages.len() - self.waiting();
        (overtook >= OVERTAKEN_MAX).then(|| self.take_first()).flatten()
    }

    /// The oldest message that was not answered, whether it may still be or not.
    pub(crate) fn take_first(&mut self) -> Option<Settled> {
        (self.waiting > 0).then(|| self.take(self.first())).flatten()
    }

    /// The loop gives up the messages sent before `moment`: how many others may be sent in their
    /// place. Their echoes are still known when they come.
    pub(crate) fn give_up(&mut self, moment: Duration) -> usize {
        let start = self.given_up.max(self.first());
        let place = (start - self.first()) as usize;
        let mut freed = 0;
        for message in self.messages.range(place.min(self.messages.len())..) {
            match message {
                Some(message) if message.sent >= moment => break,
                message => freed += usize::from(message.is_some()),
            }
            self.given_up = self.given_up.max(start) + 1;
        }
        freed
    }

    /// The number of the oldest message that was not answered, or that of the next.
    fn first(&self) -> u64 {
        self.next - self.messages.len() as u64
    }

    /// The message whose number ends in these 32 bits, of those that were sent.
    fn sequence(&self, number: u32) -> Option<u64> {
        let last = self.next.checked_sub(1)?;
        last.checked_sub(u64::from((last as u32).wrapping_sub(number)))
    }

    fn drop_answered(&mut self) {
        while let Some(None) = self.messages.front() {
            self.messages.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::payload::{Content, sizes::Sizes};

    const CONNECTION: u32 = 7;

    fn payloads(size: usize) -> Payloads {
        Payloads::cut(Sizes::Constant(size), Content::Bytes, &mut StdRng::seed_from_u64(1))
    }

    fn payload(payloads: &Payloads, connection: u32, sequence: u32) -> Vec<u8> {
        let mut payload = Vec::new();
        payloads.write(connection, sequence, &mut payload);
        payload
    }

    /// A window whose messages are sent at 0 s, 1 s, 2 s and so on.
    fn window(messages: u64) -> Window {
        let mut window = Window::default();
        for second in 0..messages {
            let sent = Duration::from_secs(second);
            window.push(Message { intended: sent, sent });
        }
        window
    }

    fn overtaken(settled: Option<Settled>) -> Option<bool> {
        settled.map(|settled| settled.was_overtaken)
    }

    #[test]
    fn what_was_overtaken_and_what_was_repeated_is_told() {
        let mut window = window(4);
        assert_eq!(overtaken(window.take(0)), Some(false));
        assert_eq!(overtaken(window.take(0)), None);
        assert_eq!(overtaken(window.take(2)), Some(false));
        assert_eq!(overtaken(window.take(2)), None);
        assert_eq!(overtaken(window.take(1)), Some(true));
        assert_eq!(overtaken(window.take(3)), Some(false));
        assert_eq!(overtaken(window.take(4)), None);
        assert_eq!((window.waiting(), window.messages.len()), (0, 0));
    }

    #[test]
    fn a_message_is_lost_when_enough_later_ones_were_answered() {
        let most = OVERTAKEN_MAX as u64;
        let mut window = window(most + 2);
        for sequence in 1..most {
            window.take(sequence);
        }
        assert_eq!(window.take_lost(), None);
        window.take(most);
        assert_eq!(overtaken(window.take_lost()), Some(true));
        assert_eq!(window.take_lost(), None);
        assert_eq!(overtaken(window.take_first()), Some(false));
        assert_eq!(window.take_first(), None);
    }

    /// In square time this would take a minute.
    #[test]
    fn an_echo_costs_the_same_however_many_messages_are_on_their_way() {
        let mut window = window(1_000_000);
        for sequence in 0..1_000_000 {
            let settled = window.take(sequence);
            assert_eq!(settled.map(|settled| settled.was_overtaken), Some(false));
        }
    }

    #[test]
    fn each_message_is_freed_once_and_known_after_that() {
        let mut window = window(5);
        window.take(1);
        assert_eq!(window.give_up(Duration::from_secs(3)), 2);
        assert_eq!(window.give_up(Duration::from_secs(3)), 0);
        assert_eq!(window.take(2).map(|settled| settled.frees), Some(false));
        assert_eq!(window.take(3).map(|settled| settled.frees), Some(true));
        assert_eq!(window.give_up(Duration::from_secs(9)), 1);
        assert_eq!(window.waiting(), 2);
    }

    #[test]
    fn an_echo_is_known_by_its_name_and_a_corrupt_one_by_its_likeness() {
        let payloads = payloads(20);
        let mut window = window(100);
        window.take(0);
        let identify = |payload: &[u8]| window.identify(payload, &payloads, CONNECTION);
        assert_eq!(identify(&payload(&payloads, CONNECTION, 0)), Echo::Whole(0));
        for sequence in [1, 50] {
            let mut payload = payload(&payloads, CONNECTION, sequence);
            assert_eq!(identify(&payload), Echo::Whole(sequence.into()));
            for place in 0..payload.len() {
                payload[place] ^= 1;
                assert_eq!(identify(&payload), Echo::Corrupt(sequence.into()), "byte {place}");
                payload[place] ^= 1;
            }
            assert_eq!(identify(&payload[..19]), Echo::Corrupt(sequence.into()));
        }
        assert_eq!(identify(&payload(&payloads, CONNECTION + 1, 3)), Echo::Foreign);
        assert_eq!(identify(&payload(&payloads, CONNECTION, 100)), Echo::Unknown);
        assert_eq!(identify(b"hello"), Echo::Unknown);
        assert!(matches!(identify(&[0; 20]), Echo::Corrupt(_)));
    }

    #[test]
    fn a_short_payload_is_compared_with_the_next_one() {
        let payloads = payloads(4);
        let window = window(2);
        let identify = |payload: &[u8]| window.identify(payload, &payloads, CONNECTION);
        assert_eq!(identify(&payload(&payloads, CONNECTION, 0)), Echo::Whole(0));
        assert_eq!(identify(&payload(&payloads, CONNECTION, 1)), Echo::Corrupt(0));
        assert_eq!(Window::default().identify(b"", &payloads, CONNECTION), Echo::Unknown);
    }

    #[test]
    fn numbers_go_on_beyond_32_bits() {
        let mut window = window(3);
        window.next = (1 << 32) + 1;
        assert_eq!(window.first(), u64::from(u32::MAX) - 1);
        assert_eq!(window.sequence(0), Some(1 << 32));
        assert_eq!(window.sequence(u32::MAX), Some(u32::MAX.into()));
        assert_eq!(window.sequence(1), Some(1));
    }
}
