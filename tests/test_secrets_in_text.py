"""Test that secrets in configs, overrides and messages are masked, and that other texts are kept."""

import pytest

from krona.secrets_in_text import mask_secrets


def test_the_password_of_a_url_is_masked() -> None:
    given = {"mlflow": {"tracking_uri": "https://me:s3cr:et@host:5000/x", "a": ["postgresql://u:p@h/db", 1, None]}}
    masked = {"mlflow": {"tracking_uri": "https://me:***@host:5000/x", "a": ["postgresql://u:***@h/db", 1, None]}}
    assert mask_secrets(given) == masked
    assert mask_secrets("https://host:5000/a@b") == "https://host:5000/a@b"
    assert mask_secrets(r"logger.mlflow.tracking_uri=http\://me\:s3cret@host") == (
        r"logger.mlflow.tracking_uri=http\://me\:***@host"  # as in a multirun
    )


def test_secrets_are_masked_by_the_name_of_their_key() -> None:
    given = {"api_key": "s3cret", "Slack_Password": "s3cret", "eos_token": "</s>", "token": None, "o": "password: x"}
    assert mask_secrets(given) == {**given, "api_key": "***", "Slack_Password": "***"}
    assert mask_secrets({"api_key": "${oc.env:KEY}"}) == {"api_key": "${oc.env:KEY}"}
    texts = ["+logger.x.api_key=s3cret", "logger.x={a: 1, 'token': s3cret, b: 2}", "a=1,logger.x.auth_token=s3cret,b=2"]
    masked = ["+logger.x.api_key=***", "logger.x={a: 1, 'token': ***, b: 2}", "a=1,logger.x.auth_token=***,b=2"]
    assert mask_secrets(texts) == masked
    kept = ["logger.x.api_key=${oc.env:KEY}", "task.template=the password: {text}", "logger.x.tokens=3"]
    assert mask_secrets(kept) == kept


def test_everything_below_a_secret_key_is_masked() -> None:
    given = {"credentials": {"user": "s3cret", "pin": 123456}, "headers": {"Authorization": "Bearer s3cret"}}
    masked = {"credentials": {"user": "***", "pin": "***"}, "headers": {"Authorization": "***"}}
    assert mask_secrets({"callbacks": given}) == {"callbacks": masked}
    assert mask_secrets({"githubToken": "s3cret", "X-Api-Key": "s3cret", "use_auth": True}) == {
        "githubToken": "***", "X-Api-Key": "***", "use_auth": True,
    }  # fmt: skip


def test_labels_of_a_task_are_kept() -> None:
    config = {
        "task": {"labels": {"password": 0, "token": 1}, "words": {"token": "yes"}},
        "logger": {"x": {"token": "a"}},
    }
    assert mask_secrets(config) == {**config, "logger": {"x": {"token": "***"}}}


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        ("https://s3cret@errors.example/12", "https://***@errors.example/12"),
        ("postgres://me:p@ss@host/db", "postgres://me:***@host/db"),
        ("logger.x.password=my s3cret", "logger.x.password=***"),
        (r"callbacks.x.password=a\,s3cret", "callbacks.x.password=***"),
        ("logger.x={headers: {Authorization: Bearer s3cret}, n: 1}", "logger.x={headers: {Authorization: ***}, n: 1}"),
        ("logger.x={token: 's3cret, s3cret', n: 1}", "logger.x={token: ***, n: 1}"),
        ("hydra.job.env_set.WANDB_API_KEY=s3cret", "hydra.job.env_set.WANDB_API_KEY=***"),
    ],
)  # fmt: skip
def test_secrets_in_texts_are_masked(given: str, masked: str) -> None:
    assert mask_secrets(given) == masked
    assert mask_secrets(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/google-t5/t5-base/resolve/main/config.json?download=true",
        "git+ssh://git@github.com/me/krona",
        "postgres://me:${oc.env:PASSWORD}@host/db",
        "logger.x={headers: {Authorization: '${oc.env:TOKEN}'}}",
        "callbacks.x.token=${oc.env:TOKEN}",
        "train / dev / test: 10 / 5 / 5, eos_token=</s>, tokens: 3",
    ],
)
def test_other_texts_are_kept(text: str) -> None:
    assert mask_secrets(text) == text


def test_overrides_in_the_settings_of_hydra_are_masked() -> None:
    assert mask_secrets({"hydra": {"overrides": {"task": ["++logger.x.token=s3cret"]}}}) == {
        "hydra": {"overrides": {"task": ["++logger.x.token=***"]}}
    }


def test_known_secrets_are_masked_in_texts() -> None:
    assert mask_secrets("no access with s3cret and s3", known=["s3", "s3cret"]) == "no access with *** and ***"
