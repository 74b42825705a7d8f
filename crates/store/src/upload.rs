//! Large objects sent in parts, several at once, and what is left of such an upload cleared.
//!
//! A service keeps the parts of an upload that was cut off, unseen and paid for. So the id of each upload lies
//! beside its object, under `OBJECT.uploading`, from its first part to its end: whoever writes that object again,
//! or deletes its directory, ends the upload.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use crate::{Error, Store, path};

const MARKER_END: &str = ".uploading";
const MARKER_BYTES_MAX: u64 = 4096;
/// S3 takes no more parts than 10,000.
const PARTS_MAX: u64 = 10_000;

impl Store {
    /// Sends an object in parts. What was there stays until the last part has arrived.
    pub(crate) async fn put_in_parts(
        &self,
        parts: &dyn MultipartStore,
        path: &str,
        bytes: &Bytes,
    ) -> Result<(), Error> {
        let location = path::object(path)?;
        let fail = |error: object_store::Error| self.failed("write", path, &error);
        let marker = Path::from(format!("{location}{MARKER_END}"));
        self.abandon_upload(&marker).await?;
        let id = parts.create_multipart(&location).await.map_err(fail)?;
        let payload = PutPayload::from(id.clone().into_bytes());
        let sent = async {
            self.backend.objects.put(&marker, payload).await?;
            let done = self.send_parts(parts, &location, (&id, bytes)).await?;
            parts.complete_multipart(&location, &id, done).await
        };
        if let Err(error) = sent.await {
            let failure = fail(error);
            // If the reply to its end was lost, its id is not known any more, each service says so in its own
            // words, and the object is there.
            let done = !matches!(failure, Error::Unavailable { .. } | Error::Denied { .. })
                && self.holds(path, bytes).await;
            if !done {
                if let Err(error) = self.abandon_upload(&marker).await {
                    tracing::warn!(path, %error, "cannot end an upload; the next write of this object does");
                }
                return Err(failure);
            }
        }
        match self.backend.objects.delete(&marker).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(fail(error)),
        }
    }

    async fn send_parts(
        &self,
        parts: &dyn MultipartStore,
        location: &Path,
        (id, bytes): (&String, &Bytes),
    ) -> Result<Vec<PartId>, object_store::Error> {
        let transfer = self.transfer;
        let size = bytes.len();
        let part_bytes = transfer.part_bytes.max(size.div_ceil(PARTS_MAX as usize)).max(1);
        let send = |(number, begin): (usize, usize)| {
            let part = bytes.slice(begin..size.min(begin + part_bytes));
            async move { parts.put_part(location, id, number, PutPayload::from(part)).await }
        };
        let begins: Vec<(usize, usize)> = (0..size).step_by(part_bytes).enumerate().collect();
        stream::iter(begins.into_iter().map(send)).buffered(transfer.parallel.max(1)).try_collect().await
    }

    /// Ends the upload that a marker names, if there is one, and removes the marker.
    async fn abandon_upload(&self, marker: &Path) -> Result<(), Error> {
        let Some(multipart) = &self.backend.multipart else { return Ok(()) };
        let name = marker.to_string();
        let Some(object) = name.strip_suffix(MARKER_END) else { return Ok(()) };
        let id = match self.get_limited(&name, MARKER_BYTES_MAX).await {
            Err(Error::NotFound { .. }) => return Ok(()),
            found => String::from_utf8_lossy(&found?).into_owned(),
        };
        match multipart.abort_multipart(&Path::from(object), &id).await {
            // Nothing of it is left, or it was ended by its own writer.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(self.failed("end an upload to", object, &error)),
        }
        match self.backend.objects.delete(marker).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", &name, &error)),
        }
    }

    /// Ends what a listing shows of uploads that were cut off.
    pub(crate) async fn abandon_uploads(&self, paths: &[String]) -> Result<(), Error> {
        for marker in paths.iter().filter(|path| path.ends_with(MARKER_END)) {
            self.abandon_upload(&Path::from(marker.as_str())).await?;
        }
        Ok(())
    }
}
