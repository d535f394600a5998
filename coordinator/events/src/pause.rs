//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// Doubles from try to try up to a limit, each with jitter, so that many do not come back at once.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Pause {
    /// The first pause is about `first`, none is longer than `most`.
    pub fn new(first: Duration, most: Duration) -> Pause {
        Pause { first, most, next: first }
    }

    /// The next pause: between half of its length and all of it.
    pub fn take(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::random_range(0.5..1.0));
        self.next = (self.next * 2).min(self.most);
        pause
    }

    /// It worked: the next pause is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_begin_again() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut pause = Pause::new(first, most);
        let pauses: Vec<Duration> = (0..6).map(|_| pause.take()).collect();
        for (pause, length) in pauses.iter().zip([100, 200, 400, 800, 1000, 1000]) {
            let length = Duration::from_millis(length);
            assert!((length / 2..=length).contains(pause), "{pauses:?}");
        }
        pause.reset();
        assert!(pause.take() <= first);
    }
}
