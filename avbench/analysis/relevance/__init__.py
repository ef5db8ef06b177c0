"""How much of captions can be heard: speech coverage (SCR) and audio relevance (ARS).

*SCR* is the percentage of caption tokens that occur in the clip's speech transcript, pooled over
all captions of a set. A clip without a transcript covers nothing.

*ARS* of a word is ``max(log(f_audio / f_image), 0)`` (Eq. 13), natural logarithm, of its relative
frequencies in audio captions and in image captions; that of a caption is the sum over its words,
that of a set the mean over its captions. Higher: more of what is said is told by sound.

The paper leaves open the tokenizer, the lemmatizer, the stop words, and words that no image
caption has: each is a named choice (``reading``, ``counts``), stated under every table.

Source: "Exploring the Role of Audio in Video Captioning" (Shen et al.), Table 1, App. B, Fig. A.
"""
