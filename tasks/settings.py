"""What the environment or a ``.env`` file says: where things are kept and which keys are used."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_POINTER = "market-in-use"


class Settings(BaseSettings):
    """Settings of one machine; every field is an environment variable of the same name in capitals.

    ``bybit_environment`` decides where signed requests go: testnet unless said otherwise. Public market data may
    come from mainnet whatever it says.
    """

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    perpflow_home: Path = Field(default=Path(".perpflow"), description="folder for the database, reports and logs")
    perpflow_database_url: str | None = Field(default=None, description="SQLite in perpflow_home when not given")
    bybit_api_key: SecretStr | None = None
    bybit_api_secret: SecretStr | None = None
    bybit_environment: Literal["testnet", "mainnet", "demo"] = "testnet"

    @property
    def home(self) -> Path:
        """Absolute path of the folder that holds everything perpflow writes."""
        return self.perpflow_home.resolve()

    @property
    def database_url(self) -> str:
        """Address of perpflow's own database, never Prefect's: the one given, else that of the market used last."""
        if self.perpflow_database_url:
            return self.perpflow_database_url
        pointer = self.home / _POINTER
        return self._file(pointer.read_text().strip() if pointer.is_file() else "bybit")

    def remember_database(self, origin: str) -> str:
        """Return the address for the market ``origin``, and let ``database_url`` be it from now on."""
        if self.perpflow_database_url:
            return self.perpflow_database_url
        self.home.mkdir(parents=True, exist_ok=True)
        fresh = self.home / f"{_POINTER}.{os.getpid()}"
        fresh.write_text(origin)
        fresh.replace(self.home / _POINTER)
        return self._file(origin)

    def _file(self, origin: str) -> str:
        return f"sqlite:///{self.home / f'perpflow-{origin}.db'}"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process, read once."""
    return Settings()
