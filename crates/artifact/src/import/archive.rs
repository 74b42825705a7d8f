//! Archives of a model, unpacked within limits: nothing leaves the folder, no links, no more than is stated.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::Error;
use crate::bundle::MAX_BUNDLE_BYTES;

/// The most entries an archive may have.
const ENTRIES_MAX: usize = 10_000;
/// Where a tar file says that it is one.
const TAR_MAGIC_AT: u64 = 257;

/// A way to pack files into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Zip,
    Tar,
    TarGz,
}

impl Packing {
    /// Which one a file has, by its first bytes; none if it is no archive.
    pub(super) fn of(path: &Path) -> Result<Option<Self>, Error> {
        let io = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        let mut begin = Vec::new();
        file.by_ref().take(4).read_to_end(&mut begin).map_err(io)?;
        if begin.starts_with(b"PK\x03\x04") || begin.starts_with(b"PK\x05\x06") {
            return Ok(Some(Self::Zip));
        }
        if begin.starts_with(&[0x1f, 0x8b]) {
            return Ok(Some(Self::TarGz));
        }
        let mut magic = Vec::new();
        file.seek(SeekFrom::Start(TAR_MAGIC_AT)).map_err(io)?;
        file.take(5).read_to_end(&mut magic).map_err(io)?;
        Ok((magic == b"ustar").then_some(Self::Tar))
    }
}

/// Unpacks an archive into a folder.
pub(super) fn unpack(archive: &Path, packing: Packing, into: &Path) -> Result<(), Error> {
    let file = File::open(archive).map_err(|source| Error::Io {
        action: "read",
        path: archive.to_owned(),
        source,
    })?;
    let mut target = Target { archive, into, left_bytes: MAX_BUNDLE_BYTES, left_entries: ENTRIES_MAX };
    let file = BufReader::new(file);
    match packing {
        Packing::Zip => target.zip(file),
        Packing::Tar => target.tar(file),
        Packing::TarGz => target.tar(MultiGzDecoder::new(file)),
    }
}

struct Target<'a> {
    archive: &'a Path,
    into: &'a Path,
    left_bytes: u64,
    left_entries: usize,
}

impl Target<'_> {
    fn zip(&mut self, file: impl Read + Seek) -> Result<(), Error> {
        let mut archive = zip::ZipArchive::new(file).map_err(|error| self.broken(&error))?;
        for at in 0..archive.len() {
            let entry = archive.by_index(at).map_err(|error| self.broken(&error))?;
            let name = entry.name().map_err(|error| self.broken(&error))?.into_owned();
            if entry.is_symlink() {
                return Err(self.refused(&name, "is a link"));
            }
            if entry.is_dir() {
                self.folder(&name)?;
            } else {
                self.file(&name, entry)?;
            }
        }
        Ok(())
    }

    fn tar(&mut self, file: impl Read) -> Result<(), Error> {
        let mut archive = tar::Archive::new(file);
        let entries = archive.entries().map_err(|error| self.broken(&error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.broken(&error))?;
            let name = String::from_utf8(entry.path_bytes().into_owned())
                .map_err(|error| self.refused(&error.to_string(), "has a name that is no text"))?;
            match entry.header().entry_type() {
                tar::EntryType::Directory => self.folder(&name)?,
                tar::EntryType::Regular | tar::EntryType::Continuous => self.file(&name, entry)?,
                tar::EntryType::XGlobalHeader => {}
                _ => return Err(self.refused(&name, "is a link or a device")),
            }
        }
        // A checksum stands behind the last entry: it is checked when the end is read.
        let mut rest = archive.into_inner().take(self.left_bytes + 1);
        match io::copy(&mut rest, &mut io::sink()) {
            Ok(read) if read <= self.left_bytes => Ok(()),
            Ok(_) => Err(self.import("what follows its last entry has no end".to_owned())),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn folder(&mut self, name: &str) -> Result<(), Error> {
        let path = self.counted(name)?;
        std::fs::create_dir_all(&path).map_err(|source| Error::Io { action: "make the folder", path, source })
    }

    fn file(&mut self, name: &str, content: impl Read) -> Result<(), Error> {
        let path = self.counted(name)?;
        if let Some(parent) = path.parent() {
            let io = |source| Error::Io { action: "make the folder", path: parent.to_owned(), source };
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        // What the archive says of sizes is not believed: bytes are counted as they come.
        let mut content = content.take(self.left_bytes + 1);
        let mut file = File::create_new(&path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => self.refused(name, "is there twice"),
            _ => Error::Io { action: "write", path: path.clone(), source },
        })?;
        let written = copy(&mut content, &mut file).map_err(|error| match error {
            Copy::Read(error) => self.broken(&error),
            Copy::Write(source) => Error::Io { action: "write", path: path.clone(), source },
        })?;
        self.left_bytes = self.left_bytes.checked_sub(written).ok_or_else(|| {
            let reason = format!(
                "it unpacks to more than the limit of {MAX_BUNDLE_BYTES} bytes; leave out what no model needs"
            );
            self.import(reason)
        })?;
        Ok(())
    }

    /// Where an entry goes, one less to come.
    fn counted(&mut self, name: &str) -> Result<PathBuf, Error> {
        self.left_entries = self
            .left_entries
            .checked_sub(1)
            .ok_or_else(|| self.import(format!("it has more than {ENTRIES_MAX} entries")))?;
        let mut path = self.into.to_owned();
        for component in Path::new(name).components() {
            match component {
                Component::Normal(part) => path.push(part),
                Component::CurDir => {}
                _ => return Err(self.refused(name, "leaves the archive")),
            }
        }
        if name.contains(['\\', '\0']) {
            return Err(self.refused(name, "has a backslash or a zero in its name"));
        }
        Ok(path)
    }

    fn refused(&self, name: &str, why: &str) -> Error {
        let shown: String = name.chars().take(200).collect();
        self.import(format!("its entry \"{shown}\" {why}; pack plain files and folders"))
    }

    fn broken(&self, error: &dyn std::error::Error) -> Error {
        self.import(format!("the archive is damaged ({error}); pack or copy it again"))
    }

    fn import(&self, reason: String) -> Error {
        Error::Import { place: self.archive.display().to_string(), reason }
    }
}

enum Copy {
    Read(io::Error),
    Write(io::Error),
}

/// `io::copy` that tells who failed.
fn copy(from: &mut impl Read, to: &mut impl io::Write) -> Result<u64, Copy> {
    let mut part = vec![0u8; 1 << 16];
    let mut total = 0;
    loop {
        match from.read(&mut part) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                to.write_all(&part[..read]).map_err(Copy::Write)?;
                total += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Copy::Read(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    type Entry<'a> = (&'a str, &'a [u8]);

    fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in entries {
            let mut header = tar::Header::new_ustar();
            // As an attacker would: the library refuses such names.
            header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zip_of(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn unpacked(bytes: &[u8]) -> Result<tempfile::TempDir, Error> {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        std::fs::write(&archive, bytes).unwrap();
        let packing = Packing::of(&archive)?.expect("an archive");
        unpack(&archive, packing, &folder.path().join("out"))?;
        Ok(folder)
    }

    #[test]
    fn every_packing_gives_the_files_back() {
        let entries: [Entry<'_>; 3] = [
            ("m/saved_model.pb", b"graph"),
            ("m/variables/variables.index", b"index"),
            ("./m/notes.txt", b""),
        ];
        let tar = tar_of(&entries);
        for bytes in [zip_of(&entries), gz(&tar), tar] {
            let folder = unpacked(&bytes).unwrap();
            let out = folder.path().join("out/m");
            assert_eq!(std::fs::read(out.join("saved_model.pb")).unwrap(), b"graph");
            assert_eq!(std::fs::read(out.join("variables/variables.index")).unwrap(), b"index");
            assert!(out.join("notes.txt").is_file());
        }
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("model.onnx");
        std::fs::write(&plain, b"no archive").unwrap();
        assert_eq!(Packing::of(&plain).unwrap(), None);
    }

    #[test]
    fn nothing_leaves_the_folder() {
        for name in ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil"] {
            for bytes in [tar_of(&[(name, b"x")]), gz(&tar_of(&[(name, b"x")])), zip_of(&[(name, b"x")])] {
                let refusal = unpacked(&bytes).unwrap_err().to_string();
                assert!(refusal.contains("its entry") && refusal.contains("evil"), "{refusal}");
            }
        }
    }

    #[test]
    fn links_and_doubles_are_refused() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "link", "/etc/passwd").unwrap();
        let refusal = unpacked(&builder.into_inner().unwrap()).unwrap_err().to_string();
        assert!(refusal.contains("\"link\" is a link or a device"), "{refusal}");

        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        writer.add_symlink("link", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
        let refusal = unpacked(&writer.finish().unwrap().into_inner()).unwrap_err().to_string();
        assert!(refusal.contains("\"link\" is a link"), "{refusal}");

        let refusal = unpacked(&tar_of(&[("a", b"1"), ("./a", b"2")])).unwrap_err().to_string();
        assert!(refusal.contains("is there twice"), "{refusal}");
    }

    #[test]
    fn what_is_cut_or_changed_is_an_error() {
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let random: Vec<u8> = (0..20_000).map(|_| noise()).collect();
        let entries: [Entry<'_>; 1] = [("model.onnx", &random)];
        for bytes in [zip_of(&entries), gz(&tar_of(&entries)), tar_of(&entries)] {
            let half = &bytes[..bytes.len() / 2];
            let refusal = unpacked(half).unwrap_err().to_string();
            assert!(refusal.contains("damaged"), "{refusal}");
        }
        for bytes in [zip_of(&entries), gz(&tar_of(&entries))] {
            let mut changed = bytes;
            changed[5_000] ^= 0x55;
            assert!(unpacked(&changed).is_err());
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("out");
        let mut target =
            Target { archive: Path::new("bomb"), into: &into, left_bytes: 1000, left_entries: 2 };
        let refusal = target.file("zeros", io::repeat(0)).unwrap_err().to_string();
        assert!(refusal.contains("unpacks to more than the limit"), "{refusal}");
        assert_eq!(std::fs::metadata(into.join("zeros")).unwrap().len(), 1001);
        target.folder("b").unwrap();
        assert!(target.folder("c").unwrap_err().to_string().contains("entries"));
    }
}
