"""Folders and the repository's id."""

from harmony_agent.repositories.layout import (
    CONFIGURATION_FOLDERS,
    CONTROL,
    REPOSITORY_ID,
    RESERVED_HOSTS,
    prepare_configuration,
    prepare_runtime,
    repository_id,
)
from tests.unit.repositories.memory import MemoryRepository


async def test_preparing_makes_harmonys_folders_and_the_agents_own() -> None:
    """The configuration tree has all of them, the runtime tree only the agent's."""
    configuration, runtime = MemoryRepository(), MemoryRepository()
    await prepare_configuration(configuration)
    await prepare_runtime(runtime)
    assert {*CONFIGURATION_FOLDERS, CONTROL} <= configuration.storage.folders
    assert runtime.storage.folders == {"", CONTROL}


async def test_the_id_is_made_once_and_only_if_asked_for() -> None:
    """A look does not make one; the second call gives the first one's."""
    repository = MemoryRepository()
    assert await repository_id(repository, create=False) is None
    made = await repository_id(repository, create=True)
    assert made
    assert await repository_id(repository, create=True) == made
    assert await repository_id(repository, create=False) == made


async def test_the_loser_of_a_race_gets_the_winners_id() -> None:
    """Another node creates the id between our look and our create."""
    repository = MemoryRepository()

    def interfere(operation: str) -> None:
        if operation == "create" and not repository.storage.files:
            repository.storage.files[REPOSITORY_ID] = (1, b"the-winner\n")

    repository.before = interfere
    assert await repository_id(repository, create=True) == "the-winner"


def test_no_node_may_be_called_like_a_folder_of_the_configuration_tree() -> None:
    """Compared in lower case, as shares do."""
    expected = {"hosts", "conf", "certs", "data", "importedidps", ".harmony-agent"}
    assert expected == RESERVED_HOSTS
