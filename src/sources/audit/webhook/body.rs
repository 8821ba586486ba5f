//! Reads a body: bounded in size, in time, and in the memory that all bodies together hold; also when it is compressed.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, header};
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt as _;
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::Refusal;
use super::budget::{Budget, Room};

/// A whole body must arrive within this many waits; the API server gives up after 30 s.
const WAITS: u32 = 6;
/// Compressed bytes inflated before other tasks get a turn: at most some 4 MiB come out of them.
const INFLATE_STEP: usize = 4 << 10;
const SMALLEST_GROWTH: usize = 64 << 10;
const LARGEST_GROWTH: usize = 1 << 20;

/// An unwanted body is read on and thrown away for this long, so that a client that only reads the answer once it has
/// sent everything gets to read it, instead of a reset.
const DISCARD_TIME: Duration = Duration::from_secs(10);
const DISCARD_BYTES: usize = 64 << 20;

/// How a body may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
}

/// `application/json`, with or without parameters.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let value = values.next().and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") && values.next().is_none() {
        Ok(())
    } else {
        Err(Refusal::NotJson)
    }
}

pub fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else {
        return Ok(Encoding::Identity);
    };
    let name = value.to_str().unwrap_or_default().trim().to_ascii_lowercase();
    match (name.as_str(), values.next()) {
        ("identity" | "", None) => Ok(Encoding::Identity),
        ("gzip" | "x-gzip", None) => Ok(Encoding::Gzip),
        _ => Err(Refusal::UnknownEncoding),
    }
}

/// What bounds a body.
#[derive(Debug)]
pub struct Bounds {
    /// Bytes, after decompression; also before it.
    pub max_body: u64,
    /// For each wait for more.
    pub wait: Duration,
    pub budget: Arc<Budget>,
    pub retry_after: u32,
    /// Counts bytes as they arrive.
    pub received: Counter,
}

/// A body in memory, with the room that it takes.
#[derive(Debug)]
pub struct Held {
    pub bytes: Vec<u8>,
    _room: Room,
}

impl Bounds {
    /// Reads the whole of `body`. On a refusal the rest of it is still unread.
    pub async fn read(&self, body: &mut Body, encoding: Encoding) -> Result<Held, Refusal> {
        let announced = body.size_hint().exact();
        let over = |bytes: u64| bytes > self.max_body;
        if announced.is_some_and(over) {
            return Err(Refusal::TooLarge { limit: self.max_body });
        }
        let mut buffer = Buffer::new(self);
        if let (Encoding::Identity, Some(bytes)) = (encoding, announced) {
            buffer.reserve(bytes as usize)?;
        }
        let mut sink = match encoding {
            Encoding::Identity => Sink::Plain(buffer),
            Encoding::Gzip => Sink::Gzip(Box::new(MultiGzDecoder::new(buffer))),
        };
        let deadline = Instant::now() + self.wait * WAITS;
        let mut read = 0;
        while let Some(data) = self.next(body, deadline).await? {
            read += data.len() as u64;
            self.received.inc_by(data.len() as u64);
            if over(read) {
                return Err(Refusal::TooLarge { limit: self.max_body });
            }
            sink.push(&data).await?;
        }
        if read == 0 {
            return Err(Refusal::Empty);
        }
        let buffer = sink.finish()?;
        if buffer.bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Refusal::Empty);
        }
        Ok(Held {
            bytes: buffer.bytes,
            _room: buffer.room,
        })
    }

    /// The next piece of data; trailers are of no interest.
    async fn next(&self, body: &mut Body, deadline: Instant) -> Result<Option<Bytes>, Refusal> {
        loop {
            let deadline = deadline.min(Instant::now() + self.wait);
            match timeout_at(deadline, body.frame()).await {
                Err(_) => return Err(Refusal::TooSlow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Refusal::Broken),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// Reads what is left of an unwanted body and throws it away, within bounds.
pub async fn discard(mut body: Body) {
    let reading = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Out of time: the connection is closed, which is all that is left to do.
    let _ = timeout(DISCARD_TIME, reading).await;
}

enum Sink {
    Plain(Buffer),
    Gzip(Box<MultiGzDecoder<Buffer>>),
}

impl Sink {
    async fn push(&mut self, data: &[u8]) -> Result<(), Refusal> {
        match self {
            Sink::Plain(buffer) => buffer.push(data),
            Sink::Gzip(decoder) => {
                for step in data.chunks(INFLATE_STEP) {
                    if decoder.write_all(step).is_err() {
                        return Err(decoder.get_mut().refused.take().unwrap_or(Refusal::BadGzip));
                    }
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<Buffer, Refusal> {
        match self {
            Sink::Plain(buffer) => Ok(buffer),
            Sink::Gzip(mut decoder) => {
                if decoder.try_finish().is_err() {
                    return Err(decoder.get_mut().refused.take().unwrap_or(Refusal::BadGzip));
                }
                decoder.finish().map_err(|_| Refusal::BadGzip)
            }
        }
    }
}

/// Bytes that grow only as far as the limit and the budget allow.
struct Buffer {
    bytes: Vec<u8>,
    room: Room,
    max: usize,
    retry_after: u32,
    /// Why a write failed; `io::Error` cannot say it.
    refused: Option<Refusal>,
}

impl Buffer {
    fn new(bounds: &Bounds) -> Buffer {
        Buffer {
            bytes: Vec::new(),
            room: bounds.budget.room(),
            max: usize::try_from(bounds.max_body).unwrap_or(usize::MAX),
            retry_after: bounds.retry_after,
            refused: None,
        }
    }

    /// Makes the capacity exactly `capacity`, which the budget must have.
    fn reserve(&mut self, capacity: usize) -> Result<(), Refusal> {
        let more = capacity.saturating_sub(self.bytes.capacity());
        if !self.room.grow(more as u64) {
            return Err(Refusal::NoRoom {
                retry_after: self.retry_after,
            });
        }
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }

    fn push(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let needed = self.bytes.len().saturating_add(data.len());
        if needed > self.max {
            return Err(Refusal::TooLarge { limit: self.max as u64 });
        }
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let grown = capacity.saturating_add(capacity.clamp(SMALLEST_GROWTH, LARGEST_GROWTH));
            self.reserve(needed.max(grown.min(self.max)))?;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl Write for Buffer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.push(data) {
            Ok(()) => Ok(data.len()),
            Err(refusal) => {
                self.refused = Some(refusal);
                Err(io::Error::other("refused"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|v| (name.clone(), v.parse().unwrap())).collect()
    }

    #[test]
    fn content_types() {
        for (values, ok) in [
            (&["application/json"][..], true),
            (&["application/json; charset=utf-8"], true),
            (&["Application/JSON ;x=y"], true),
            (&["application/jsonp"], false),
            (&["text/plain, application/json"], false),
            (&["application/json", "text/plain"], false),
            (&[""], false),
            (&[], false),
        ] {
            assert_eq!(
                check_content_type(&headers(header::CONTENT_TYPE, values)).is_ok(),
                ok,
                "{values:?}"
            );
        }
    }

    #[test]
    fn content_encodings() {
        for (values, want) in [
            (&[][..], Some(Encoding::Identity)),
            (&["identity"], Some(Encoding::Identity)),
            (&["GZIP"], Some(Encoding::Gzip)),
            (&["x-gzip"], Some(Encoding::Gzip)),
            (&["deflate"], None),
            (&["gzip, gzip"], None),
            (&["gzip", "gzip"], None),
        ] {
            assert_eq!(
                encoding(&headers(header::CONTENT_ENCODING, values)).ok(),
                want,
                "{values:?}"
            );
        }
    }

    /// A body whose length is not known beforehand.
    struct Chunks(VecDeque<Bytes>);

    impl axum::body::HttpBody for Chunks {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(hyper::body::Frame::data(data))))
        }
    }

    fn bounds(max_body: u64, budget: &Arc<Budget>) -> Bounds {
        Bounds {
            max_body,
            wait: Duration::from_secs(10),
            budget: Arc::clone(budget),
            retry_after: 1,
            received: Counter::default(),
        }
    }

    #[tokio::test]
    async fn what_is_held_is_reserved_and_no_more_than_the_limit() {
        let budget = Budget::new(1 << 20, Default::default());
        let bounds = bounds(300_000, &budget);
        for size in [1_usize, 100, 65_536, 65_537, 299_999, 300_000] {
            for streamed in [false, true] {
                let data = vec![b'x'; size];
                let mut body = match streamed {
                    false => Body::from(data.clone()),
                    true => Body::new(Chunks(data.chunks(10_000).map(Bytes::copy_from_slice).collect())),
                };
                let held = bounds.read(&mut body, Encoding::Identity).await.unwrap();
                assert_eq!(held.bytes.len(), size);
                assert_eq!(budget.used(), held.bytes.capacity() as u64, "{size} {streamed}");
                assert!(budget.used() <= 300_000, "{size} {streamed}");
                drop(held);
                assert_eq!(budget.used(), 0);
            }
        }
    }

    #[tokio::test]
    async fn a_bomb_stops_at_the_limit() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![b' '; 50 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 100_000);
        let budget = Budget::new(256 << 20, Default::default());
        let bounds = bounds(1 << 20, &budget);
        let mut body = Body::from(bomb);
        let refusal = bounds.read(&mut body, Encoding::Gzip).await.unwrap_err();
        assert!(matches!(refusal, Refusal::TooLarge { limit: 1_048_576 }), "{refusal:?}");
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn gzip_in_all_its_states() {
        let gzip = |text: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let whole = gzip("{\"a\":1}");
        let mut corrupt = whole.clone();
        let last = corrupt.len() - 6;
        corrupt[last] ^= 1;
        let budget = Budget::new(1 << 20, Default::default());
        let bounds = bounds(1 << 20, &budget);
        for (bytes, want) in [
            (whole.clone(), Ok("{\"a\":1}")),
            ([gzip("{\"a\""), gzip(":1}")].concat(), Ok("{\"a\":1}")),
            (whole[..whole.len() - 3].to_vec(), Err("bad_gzip")),
            (corrupt, Err("bad_gzip")),
            (b"{\"a\":1}".to_vec(), Err("bad_gzip")),
            (gzip(""), Err("empty")),
            (Vec::new(), Err("empty")),
        ] {
            let held = bounds.read(&mut Body::from(bytes.clone()), Encoding::Gzip).await;
            match held {
                Ok(held) => assert_eq!(Ok(std::str::from_utf8(&held.bytes).unwrap()), want, "{bytes:?}"),
                Err(refusal) => assert_eq!(Err(refusal.kind()), want, "{bytes:?}"),
            }
        }
        assert_eq!(budget.used(), 0);
    }
}
