"""Test that secrets in configs, overrides and messages are masked, and that other texts are kept."""

from typing import Any

import pytest

from krona.secrets_in_text import mask_secrets


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        # passwords in URLs
        ({"tracking_uri": "https://me:s3cr:et@host:5000/x"}, {"tracking_uri": "https://me:***@host:5000/x"}),
        (["postgresql://u:p@h/db", 1, None], ["postgresql://u:***@h/db", 1, None]),
        ("https://s3cret@errors.example/12", "https://***@errors.example/12"),
        ("postgres://me:p@ss@host/db", "postgres://me:***@host/db"),
        (r"logger.mlflow.uri=http\://me\:s3cret@host", r"logger.mlflow.uri=http\://me\:***@host"),  # in a multirun
        # values of keys
        ({"api_key": "s3cret", "Slack_Password": "s3cret"}, {"api_key": "***", "Slack_Password": "***"}),
        ({"githubToken": "s3cret", "X-Api-Key": "s3cret"}, {"githubToken": "***", "X-Api-Key": "***"}),
        ({"credentials": {"user": "s3cret", "pin": 123456}}, {"credentials": {"user": "***", "pin": "***"}}),
        ({"headers": {"Authorization": "Bearer s3cret"}}, {"headers": {"Authorization": "***"}}),
        # overrides
        ("+logger.x.api_key=s3cret", "+logger.x.api_key=***"),
        ("logger.x={a: 1, 'token': s3cret, b: 2}", "logger.x={a: 1, 'token': ***, b: 2}"),
        ("a=1,logger.x.auth_token=s3cret,b=2", "a=1,logger.x.auth_token=***,b=2"),
        ("logger.x.password=my s3cret", "logger.x.password=***"),
        (r"callbacks.x.password=a\,s3cret", "callbacks.x.password=***"),
        ("logger.x={headers: {Authorization: Bearer s3cret}, n: 1}", "logger.x={headers: {Authorization: ***}, n: 1}"),
        ("logger.x={token: 's3cret, s3cret', n: 1}", "logger.x={token: ***, n: 1}"),
        ("hydra.job.env_set.WANDB_API_KEY=s3cret", "hydra.job.env_set.WANDB_API_KEY=***"),
        ({"hydra": {"task": ["++logger.x.token=s3cret"]}}, {"hydra": {"task": ["++logger.x.token=***"]}}),
    ],
)  # fmt: skip
def test_secrets_are_masked(given: Any, masked: Any) -> None:
    assert mask_secrets(given) == masked
    assert mask_secrets(masked) == masked


@pytest.mark.parametrize(
    "value",
    [
        "https://host:5000/a@b",
        "https://huggingface.co/google-t5/t5-base/resolve/main/config.json?download=true",
        "git+ssh://git@github.com/me/krona",
        "postgres://me:${oc.env:PASSWORD}@host/db",
        "logger.x={headers: {Authorization: '${oc.env:TOKEN}'}}",
        "logger.x.api_key=${oc.env:KEY}",
        "callbacks.x.token=${oc.env:TOKEN}",
        "task.template=the password: {text}",
        "logger.x.tokens=3",
        "train / dev / test: 10 / 5 / 5, eos_token=</s>, tokens: 3",
        {"eos_token": "</s>", "token": None, "o": "password: x", "use_auth": True},
        {"api_key": "${oc.env:KEY}"},
        {"task": {"labels": {"password": 0, "token": 1}, "words": {"token": "yes"}}},
    ],
)
def test_other_values_are_kept(value: Any) -> None:
    assert mask_secrets(value) == value


def test_known_secrets_are_masked_in_texts() -> None:
    assert mask_secrets("no access with s3cret and s3", known=["s3", "s3cret"]) == "no access with *** and ***"
