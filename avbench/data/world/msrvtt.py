"""The mostly visual set, in MSR-VTT's form: 20 references a clip.

Source: MSR-VTT (Xu et al., CVPR 2016), the ``videodatainfo`` structure, version 2.0.
"""

from typing import Any

from avbench.data.settings import WorldSettings
from avbench.data.world.corpus import Corpus, Entry, Mix, dump, plan, validation_clips
from avbench.data.world.film import Film
from avbench.data.world.phrases import SCENE, TALK_SPEECH
from avbench.data.world.render import SECONDS

KEY = __name__.rpartition(".")[2]
MIX = Mix(scene=SCENE, speech=0.39, lines=TALK_SPEECH, sound=0.2, references=20)


def make(settings: WorldSettings) -> Corpus:
    """Plan the set; clip ids are ``video<n>``."""
    videos: list[dict[str, Any]] = []
    sentences: list[dict[str, Any]] = []
    films, entries = [], []
    for split, name, n in (
        ("train", "train", settings.clips),
        ("validation", "validate", validation_clips(settings)),
        ("test", "test", settings.test_clips),
    ):
        for clip in plan(KEY, split, n, MIX, settings):
            number = len(videos)
            video = f"video{number}"
            videos.append(
                {
                    "category": number % 20,
                    "url": f"https://www.youtube.com/watch?v={video}",
                    "video_id": video,
                    "start time": 0.0,
                    "end time": SECONDS,
                    "split": name,
                    "id": number,
                }
            )
            for caption in clip.captions:
                sentences.append({"caption": caption, "video_id": video, "sen_id": len(sentences)})
            films.append(Film(video=video, scenes=(clip.scene,)))
            entries.append(
                Entry(
                    id=video,
                    split=name,
                    captions=clip.captions,
                    words=clip.scene.words,
                    facts=clip.facts,
                )
            )
    info = {"contributor": "avbench", "description": "AVScenes", "version": "2.0"}
    data = {"info": info, "videos": videos, "sentences": sentences}
    return Corpus(
        annotations={"MSRVTT_data.json": dump(data)}, films=tuple(films), entries=tuple(entries)
    )
