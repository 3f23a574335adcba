"""Names that datasets use for their columns."""

TEXT_NAMES = (
    "sentence review content comment tweet message utterance question document body headline review_text text_a"
    " comment_text reviewtext claim description abst originaltext 文本 内容 评论 评论内容 评价 留言 正文 句子 微博"
    # German, French and Spanish; not subjects such as Betreff, which stand beside the text of a message.
    " nachricht kommentar satz frage rezension inhalt beschreibung texte commentaire avis phrase contenu"
    " texto mensaje comentario frase reseña opinión contenido"
)
# Of the text that holds the answer to a question.
CONTEXT_NAMES = "passage passage_text paragraph document article text 文章 kontext contexte contexto"
LABEL_NAMES = (
    "labels category class target intent sentiment emotion topic score stars rating gold_label"
    " categories classes targets intents sentiments emotions topics genres tags cats is_duplicate overall quality"
    " entailment_label entailment_judgment label_4class label_36class"
    " 标签 类别 分类 类型 情感 情感倾向 情绪 主题 意图 评分 星级"
    # German, French and Spanish
    " kategorie klasse thema absicht stimmung étiquette etiquette catégorie categorie classe intention sentimiento"
    " etiqueta categoría categoria clase tema intención"
)
# Columns of pairs of texts in well-known datasets.
PAIRS = (
    # GLUE
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("premise", "hypo"),
    ("question1", "question2"),
    ("#1 string", "#2 string"),
    ("question", "sentence"),
    ("question", "passage"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("text", "text2"),
    ("sentence", "sentence2"),
    ("question", "context"),
    ("question", "answer"),
    ("sentence_a", "sentence_b"),
    ("sent1", "sent2"),
    ("query", "passage"),
    ("query", "document"),
    # CSL
    ("abst", "keyword"),
)
LAYOUTS = (
    # BoolQ: an answer is a label beside a passage alone.
    {"text": "question", "text_pair": "passage", "label": "answer"},
    *({"text": first, "text_pair": second} for first, second in PAIRS),
)
