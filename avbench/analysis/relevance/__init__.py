"""The audible share of captions: speech coverage (SCR) and audio relevance (ARS).

*SCR* is the percentage of caption tokens that occur in the clip's speech transcript, pooled over
all captions of a set. A clip without a transcript covers nothing.

*ARS* of a word is ``max(log(f_audio / f_image), 0)`` (Eq. 13), with the natural logarithm and the
word's relative frequencies in audio captions and in image captions. ARS of a caption is the sum
over its words, and ARS of a set the mean over its captions. Higher: sound tells more of the
captions.

The paper leaves open the tokenizer, the lemmatizer, the stop words, and words of no image caption.
Each is a named choice (``reading``, ``counts``), stated under every table.

Source: "Exploring the Role of Audio in Video Captioning" (Shen et al.), Table 1, App. B, Fig. A.
"""
