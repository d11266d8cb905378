"""The text of HTML pages."""

from moesaic.retrieval.html_page import read_html


def test_a_page_becomes_its_main_text() -> None:
    page = read_html("""
        <!doctype html><html><head><title>  The
        guide </title><style>p {}</style></head>
        <body><nav><a href="/">Home</a></nav>
        <main><h1>Guide <a class="headerlink">¶</a></h1><p>First <b>bold</b>
           words.<br>Next line.</p>
        <h2>List</h2><ul><li>One</li><li>Two <i>more</i><ul><li>Inner</li></ul></li></ul>
        <pre>x = 1
  y = 2
</pre>
        <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2 &lt; 3</td></tr></table>
        <script>alert(1)</script><p hidden>no</p></main><footer>Foot</footer></body></html>
    """)
    assert page.title == "The guide"
    assert page.text == (
        "Guide\n\nFirst bold words.\nNext line.\n\nList\n\n- One\n- Two more\n- Inner\n\nx = 1\n  y = 2\n\n"
        "| a | b |\n| 1 | 2 < 3 |"
    )
    assert [(heading.level, page.text[heading.start : heading.end]) for heading in page.headings] == [
        (1, "Guide"),
        (2, "List"),
    ]


def test_a_fragment_is_read_too() -> None:
    assert read_html("just <b>words</b> 和文字") == ("", "just words 和文字", [])


def test_several_articles_are_all_read() -> None:
    assert read_html("<article>One.</article><article>Two.</article>").text == "One.\n\nTwo."


def test_a_page_without_text_is_empty() -> None:
    assert read_html("<html><body><script>x</script></body></html>").text == ""
    assert read_html("").text == ""


def test_malformed_pages_are_read_as_browsers_do() -> None:
    assert read_html("<p>One<p>Two</div><li>Three").text == "One\n\nTwo\n\n- Three"
