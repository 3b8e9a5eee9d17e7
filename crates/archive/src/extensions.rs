//! What the headers before an entry say of it.

use crate::pax::Records;

/// Collects the extended headers of one entry.
///
/// Readers disagree on which of two headers of one kind counts, and an archive that one sees
/// differently than another can hide entries: two are refused, as no writer makes them.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub pax: Option<Records>,
    pub long_path: Option<Vec<u8>>,
    pub long_link: Option<Vec<u8>>,
}

impl Extensions {
    pub fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_path.is_none() && self.long_link.is_none()
    }

    /// Takes the content of a PAX header.
    pub fn set_pax(&mut self, content: &[u8]) -> Result<(), &'static str> {
        let mut records = Records::default();
        records.read(content)?;
        let previous = self.pax.replace(records);
        self.check(previous.is_some())
    }

    /// Takes a path from a GNU header.
    pub fn set_long_path(&mut self, path: &[u8]) -> Result<(), &'static str> {
        let previous = self.long_path.replace(path.to_vec());
        self.check(previous.is_some())
    }

    /// Takes a link target from a GNU header.
    pub fn set_long_link(&mut self, target: &[u8]) -> Result<(), &'static str> {
        let previous = self.long_link.replace(target.to_vec());
        self.check(previous.is_some())
    }

    fn check(&self, is_repeated: bool) -> Result<(), &'static str> {
        let pax = self.pax.as_ref();
        let path = pax.and_then(|records| records.path.as_ref());
        let link = pax.and_then(|records| records.link_target.as_ref());
        if is_repeated || disagree(path, self.long_path.as_ref()) || disagree(link, self.long_link.as_ref()) {
            return Err("an entry's extended headers contradict each other");
        }
        Ok(())
    }
}

fn disagree(pax: Option<&Vec<u8>>, gnu: Option<&Vec<u8>>) -> bool {
    pax.is_some() && gnu.is_some() && pax != gnu
}
