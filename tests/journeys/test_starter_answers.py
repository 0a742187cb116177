"""The starter models answer on a real server."""

import httpx
from huggingface_hub import HfApi

from starter_models import beckett_recording, whisper_directory


def test_a_short_recording_is_transcribed_whole_and_as_plain_text(server):
    api = HfApi(endpoint=server.url, token=server.key)
    api.create_repo("library/whisper-base", exist_ok=True)
    api.upload_folder(folder_path=whisper_directory(), repo_id="library/whisper-base")
    # The first two seconds are one segment, the case in which the only chunk is not the whole answer.
    sound = beckett_recording().read_bytes()
    for audio, form in ((sound, "json"), (sound[:44] + sound[44 : 44 + 2 * 2 * 16000], "json"), (sound, "text")):
        files = {"file": ("beckett.wav", audio, "audio/wav")}
        data = {"model": "library/whisper-base", "response_format": form}
        reply = httpx.post(f"{server.url}/v1/audio/transcriptions", files=files, data=data, headers=server.headers, timeout=200)
        assert reply.status_code == 200, reply.text
        assert (reply.json()["text"] if form == "json" else reply.text).strip()
    assert "fail better" in reply.text.lower()
