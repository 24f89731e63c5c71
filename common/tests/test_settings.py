# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import pytest

from linkora.settings import DatabaseSettings, ServiceSettings, load


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("DB_HOST", "db.internal")
    monkeypatch.setenv("DB_PORT", "6543")
    monkeypatch.setenv("LOG_LEVEL", "warning")
    settings = load(ServiceSettings)
    assert (settings.database.host, settings.database.port) == ("db.internal", 6543)
    assert settings.log_level == "WARNING"


def test_an_empty_variable_means_the_default(monkeypatch):
    monkeypatch.setenv("DB_PORT", "")
    assert load(DatabaseSettings).port == 5432


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DB_PORT", "70000", "wrong setting DB_PORT='70000': "),
        ("REDIS_PORT", "x", "wrong setting REDIS_PORT='x': "),
        ("LOG_LEVEL", "loud", "wrong setting LOG_LEVEL='LOUD': "),
    ],
)
def test_a_wrong_value_stops_the_process_and_is_named(monkeypatch, capsys, name, value, told):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        load(ServiceSettings)
    assert stop.value.code == 2
    assert told in capsys.readouterr().err


def test_a_password_is_shown_nowhere(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    assert "hunter2" not in repr(load(ServiceSettings))
