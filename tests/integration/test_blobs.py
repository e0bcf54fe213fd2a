import numpy as np
import psycopg
import pytest
from sqlalchemy import text

from prometheus.db.blobs import blob_address, get_array, put_array
from prometheus.db.database import Database
from prometheus.foundation.errors import DatabaseError


@pytest.fixture(scope="module")
def database(cloned):
    """One migrated database for all tests here: equal content is stored once, so they do not disturb each other."""
    with cloned() as url:
        opened = Database(url)
        yield opened
        opened.close()


def matrices():
    """Return arrays that differ in type, shape, order of bytes and memory layout."""
    numbers = np.random.default_rng(7).standard_normal((40, 6))
    return [
        numbers,
        numbers.astype("<f4"),
        numbers.astype(">f8"),
        np.asfortranarray(numbers),
        numbers[::2, ::-1],
        np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324]),
        np.array(1.5),
        np.zeros((0, 3), dtype="<f4"),
        np.zeros(100_000),
    ]


@pytest.mark.parametrize("number", range(len(matrices())))
def test_an_array_comes_back_bit_by_bit(database, number):
    """What is read has the shape, the type and every bit of what was stored, and cannot be written to."""
    array = matrices()[number]
    with database.transaction() as connection:
        address = put_array(connection, array)
    assert address == blob_address(array)
    with database.autocommit() as connection:
        stored = get_array(connection, address)
    assert stored.shape == array.shape
    assert stored.dtype == array.dtype.newbyteorder("<")
    assert stored.tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
    assert not stored.flags.writeable


def test_equal_content_is_stored_once(database):
    """Storing the same content again adds no row, whatever its layout in memory."""
    array = np.arange(12.0).reshape(3, 4)
    with database.transaction() as connection:
        before = connection.execute(text("SELECT count(*) FROM blobs")).scalar_one()
        addresses = {put_array(connection, each) for each in (array, array.copy(), np.asfortranarray(array))}
        assert len(addresses) == 1
        assert connection.execute(text("SELECT count(*) FROM blobs")).scalar_one() == before + 1


def test_type_and_shape_are_part_of_the_address():
    """The same bytes under another shape or type are another blob."""
    array = np.zeros(8)
    addresses = {blob_address(array), blob_address(array.reshape(2, 4)), blob_address(np.zeros(16, dtype="<f4"))}
    assert len(addresses) == 3


@pytest.mark.parametrize("array", [np.arange(3), np.array(["a"]), np.array([1j]), np.array([1.0], dtype=np.float16)])
def test_other_types_are_refused(database, array):
    """Only float32 and float64 are stored; anything else is the caller's mistake."""
    with database.transaction() as connection, pytest.raises(TypeError, match="float32 or float64"):
        put_array(connection, array)


def test_a_missing_blob_is_named(database):
    """An address without a blob is an error that carries it."""
    with database.autocommit() as connection, pytest.raises(DatabaseError, match="ab" * 32) as caught:
        get_array(connection, b"\xab" * 32)
    assert caught.value.code == "BLOB_MISSING"


DAMAGES = (
    "data = set_byte(data, 0, get_byte(data, 0) # 1)",
    "data = set_byte(data, 3, 127)",
    "data = set_byte(data, 40, get_byte(data, 40) # 255)",
    "data = set_byte(data, length(data) - 1, get_byte(data, length(data) - 1) # 1)",
    "data = substring(data FROM 1 FOR length(data) - 1)",
    "data = ''",
    "shape = '{6,40}'",
    "shape = '{-40,-6}'",
    "shape = '{40,7}'",
    "dtype = '<f4'",
    "dtype = '<i8'",
    "dtype = 'O'",
)


@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_any_damage_is_found_when_it_is_read(database, server, number):
    """A changed byte, length, shape or type never comes back as numbers."""
    with database.transaction() as connection:
        # Content of its own, since equal content is stored once.
        address = put_array(connection, matrices()[0] + (100.0 + number))
        name = connection.execute(text("SELECT current_database()")).scalar_one()
    # Only a superuser can switch the append-only trigger off: the damage simulates a failing disk.
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname=name) as admin:
        admin.execute("SET session_replication_role = replica")
        assert admin.execute(f"UPDATE blobs SET {DAMAGES[number]} WHERE sha256 = %s", [address]).rowcount == 1
    with database.autocommit() as connection, pytest.raises(DatabaseError) as caught:
        get_array(connection, address)
    assert caught.value.code == "BLOB_CORRUPT"
