//! Seeing to it that the engine has an image.

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use pipelines::plan::{Container, Pull};

use super::engine::{self, Engine};
use crate::output::Output;

/// Why an image is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(
        "the engine at {address} has no image '{image}', and the job says `pull: never`: load it \
         with `docker load`, or let the job pull it"
    )]
    Missing { image: String, address: engine::Address },
    #[error(
        "cannot pull '{image}': {words}; see that its name is right, that its registry gives it \
         without a login, and that this host reaches the registry; or load it with `docker load` \
         and say `pull: never`"
    )]
    Pull { image: String, words: String },
    #[error("cannot write the job's output: {0}; see the disk of the agent's state")]
    Output(std::io::Error),
}

/// Pulls the images of `container` and its services if its policy wants that; what happens is told to
/// `output`.
pub(super) async fn provide(
    engine: &Engine,
    container: &Container,
    output: &mut Output,
) -> Result<(), Error> {
    let services = container.services.iter().map(|service| &service.image);
    for image in services.chain([&container.image]) {
        provide_one(engine, image, container.pull, output).await?;
    }
    Ok(())
}

async fn provide_one(
    engine: &Engine,
    image: &str,
    policy: Pull,
    output: &mut Output,
) -> Result<(), Error> {
    match policy {
        Pull::Always => pull(engine, image, output).await,
        Pull::IfMissing if engine.has_image(image).await? => Ok(()),
        Pull::IfMissing => pull(engine, image, output).await,
        Pull::Never if engine.has_image(image).await? => Ok(()),
        Pull::Never => {
            Err(Error::Missing { image: image.to_owned(), address: engine.address().clone() })
        }
    }
}

async fn pull(engine: &Engine, image: &str, output: &mut Output) -> Result<(), Error> {
    let failed = |words: String| Error::Pull { image: image.to_owned(), words };
    output.say(&format!("pulling {image}")).map_err(Error::Output)?;
    let options = CreateImageOptionsBuilder::default().from_image(&with_tag(image)).build();
    let mut steps = engine.docker.create_image(Some(options), None, None);
    while let Some(step) = steps.next().await {
        let step = step.map_err(|error| failed(engine.error(error).to_string()))?;
        if let Some(detail) = step.error_detail {
            return Err(failed(detail.message.unwrap_or_else(|| "no reason was given".into())));
        }
        if let Some(line) = line_of(step) {
            output.say(&line).map_err(Error::Output)?;
        }
    }
    Ok(())
}

/// What is worth a line: the end of each layer, and what concerns the whole.
fn line_of(step: CreateImageInfo) -> Option<String> {
    let status = step.status?;
    match step.id {
        None => Some(status),
        Some(layer) => (status == "Pull complete").then(|| format!("{layer}: {status}")),
    }
}

/// An image without tag and digest stands for its tag `latest`; the engine would pull all tags.
fn with_tag(image: &str) -> String {
    let name = image.rsplit_once('/').map_or(image, |(_, name)| name);
    match name.contains([':', '@']) {
        true => image.to_owned(),
        false => format!("{image}:latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_image_without_tag_and_digest_gets_one() {
        assert_eq!(with_tag("alpine"), "alpine:latest");
        assert_eq!(with_tag("r.example.org:5000/a/alpine"), "r.example.org:5000/a/alpine:latest");
        for image in ["alpine:3", "r:5000/alpine:3", "alpine@sha256:00"] {
            assert_eq!(with_tag(image), image);
        }
    }
}
