//! The bytes of a file, unpacked.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How much of a file tells its form.
const HEAD: u64 = 1 << 16;

/// A file that is being read. What gzip or zstd packed is unpacked on the way, which its first
/// bytes tell.
///
/// Both decoders are written in Rust. The traces are read by the simulator itself, which builds
/// without a C compiler; and either unpacks several times as fast as rows are parsed.
pub(super) struct Source {
    bytes: Box<dyn BufRead>,
    head: Vec<u8>,
    position: Position,
}

/// How far a file has been read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    read: Rc<Cell<u64>>,
    size: u64,
}

impl Position {
    /// The share of the file's bytes that have been read; 1 for an empty file.
    pub(crate) fn share(&self) -> f64 {
        if self.size == 0 { 1.0 } else { (self.read.get() as f64 / self.size as f64).min(1.0) }
    }
}

impl Source {
    /// Opens a file, and reads its beginning.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or its beginning cannot be read or unpacked.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let position = Position { read: Rc::default(), size: file.metadata()?.len() };
        let counted = Counted { file, read: Rc::clone(&position.read) };
        let mut packed = BufReader::with_capacity(1 << 16, counted);
        let magic = packed.fill_buf()?;
        let mut bytes: Box<dyn BufRead> = if magic.starts_with(&GZIP_MAGIC) {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(packed)))
        } else if magic.starts_with(&ZSTD_MAGIC) {
            Box::new(BufReader::with_capacity(1 << 16, Zstd::new(packed)?))
        } else {
            Box::new(packed)
        };
        let mut head = Vec::new();
        (&mut bytes).take(HEAD).read_to_end(&mut head)?;
        Ok(Self { bytes, head, position })
    }

    /// A text that is no file.
    #[cfg(test)]
    pub(super) fn of_text(text: &[u8]) -> Self {
        let position = Position::default();
        Self { bytes: Box::new(io::empty()), head: text.to_owned(), position }
    }

    /// The first bytes, enough to tell a form.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// How far the file has been read.
    pub(super) fn position(&self) -> Position {
        self.position.clone()
    }

    /// All bytes, from the first.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes(Cursor::new(self.head).chain(self.bytes))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("position", &self.position).finish_non_exhaustive()
    }
}

/// The bytes of a source.
pub(super) struct Bytes(io::Chain<Cursor<Vec<u8>>, Box<dyn BufRead>>);

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl BufRead for Bytes {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bytes").finish_non_exhaustive()
    }
}

/// Counts the bytes that are read.
struct Counted {
    file: File,
    read: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

/// The frames of a zstd file, one after another.
struct Zstd<R> {
    packed: R,
    decoder: FrameDecoder,
}

impl<R: BufRead> Zstd<R> {
    fn new(packed: R) -> io::Result<Self> {
        let mut frames = Self { packed, decoder: FrameDecoder::new() };
        frames.begin_frame()?;
        Ok(frames)
    }

    /// Begins the next frame that has content; `false` at the end of the file.
    fn begin_frame(&mut self) -> io::Result<bool> {
        while !self.packed.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.packed) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.packed).take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.packed, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            } else if !self.begin_frame()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        fs::write(&path, bytes)?;
        let source = Source::open(&path)?;
        let position = source.position();
        let mut text = Vec::new();
        source.into_bytes().read_to_end(&mut text)?;
        assert!((position.share() - 1.0).abs() < f64::EPSILON, "{position:?}");
        Ok(text)
    }

    #[test]
    fn packed_files_read_as_what_was_packed() {
        let text: Vec<u8> =
            (0..40_000).flat_map(|idx: u32| format!("{idx},").into_bytes()).collect();
        let (head, tail) = text.split_at(70_000);
        // A frame that holds no content, as some tools write for their own use.
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        for (name, bytes) in [
            ("plain", text.clone()),
            ("gzip", gzip(&text)),
            ("two members", [gzip(head), gzip(tail)].concat()),
            ("zstd", zstd(&text)),
            ("two frames", [zstd(head), skipped, zstd(tail)].concat()),
        ] {
            assert!(read(&bytes).unwrap() == text, "{name}");
        }
        assert_eq!(read(b"").unwrap(), b"");
    }

    #[test]
    fn a_packed_file_that_was_cut_off_is_an_error() {
        let text = b"0.5,10,20\n".repeat(20_000);
        for packed in [gzip(&text), zstd(&text)] {
            assert!(read(&packed[..packed.len() / 2]).is_err());
        }
    }
}
