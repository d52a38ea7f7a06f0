//! Images from a list, one a line, as `docker compose config --images` writes it.
//!
//! Blank lines and lines that begin with `#` are skipped. Pure.

use std::sync::Arc;

use crate::document::Fault;
use crate::object::{Found, Identity, Mention, Object, Role, parse_image};

/// Reads a list. Nobody knows whose these images are, so the one object that names them has no kind and no name.
pub(crate) fn read(text: &str) -> Found {
    let mut found = Found::default();
    let mut mentions = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let image = line.trim();
        if !image.is_empty() && !image.starts_with('#') {
            match parse_image(image) {
                Ok(reference) => {
                    let (image, reference) = (image.to_owned(), Arc::new(reference));
                    mentions.push(Mention { container: None, field: None, image, reference, running: None, config: None });
                }
                Err(cause) => found.faults.push(Fault { at: Some(offset), cause }),
            }
        }
        offset += line.len();
    }
    if !mentions.is_empty() {
        found.objects.push(Object { identity: Identity::default(), owner: None, role: Role::Template, finished: false, mentions });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::line_of;

    #[test]
    fn a_list_is_read_line_by_line() {
        let text = "# what compose runs\nnginx:1.25\n\n  registry.example.com:5000/team/app:2  \r\nno image\nnginx:1.25\n${IMAGE}";
        let found = read(text);
        let images: Vec<&str> = found.objects.iter().flat_map(|object| &object.mentions).map(|mention| mention.image.as_str()).collect();
        assert_eq!(images, ["nginx:1.25", "registry.example.com:5000/team/app:2", "nginx:1.25"]);
        let lines: Vec<usize> = found.faults.iter().map(|fault| line_of(text, fault.at.unwrap())).collect();
        assert_eq!(lines, [5, 7]);
    }

    #[test]
    fn the_id_of_an_image_is_no_reference() {
        let hex = "0".repeat(64);
        for id in [format!("sha256:{hex}"), hex] {
            assert!(read(&id).faults.first().unwrap().cause.contains("ID of an image"), "{id}");
        }
    }

    #[test]
    fn an_empty_list_holds_nothing() {
        assert_eq!(read("\n# nothing\n").objects, []);
    }
}
